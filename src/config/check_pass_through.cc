// SPDX-License-Identifier: GPL-3.0-or-later
// Checks of clusters whose connections go on untouched: where to, and whether they do.
#include <algorithm>

#include "checks.h"
#include "sluice/base/quote.h"

namespace sluice::config {
namespace {

constexpr std::size_t targets_max = 64;

// What only a cluster needs that serves its clients itself.
bool has_something_of_its_own(const ClusterConfig& config) {
  return config.hibernated || !config.backends.empty() || !config.backend_file.empty() ||
         !config.discovery_kubeconfig.empty() || !config.backend_discovery.empty() ||
         !config.backend_ca_file.empty() || !config.tls_cert_file.empty() ||
         !config.tls_private_key_file.empty();
}

void check_target(const std::string& text, std::size_t element, const Validation& process,
                  Reporter& report, CheckedCluster& cluster) {
  const About about("pass-through", element);
  const auto address = parse_reachable(report, about, text, process);
  if (!address) return;
  if (std::ranges::find(cluster.pass_through, *address) != cluster.pass_through.end()) {
    report.mistake(about, "--pass-through={} is given twice: keep one of them.", quote(text));
  }
  cluster.pass_through.push_back(*address);
}

// Whoever has written it believes that it protects something.
void warn_of_what_has_no_effect(Reporter& report, const ClusterConfig& config) {
  const auto warn = [&](std::string_view flag) {
    report.warning(flag,
                   "--{} has no effect where connections are passed on: what is in them is not "
                   "looked at.",
                   flag);
  };
  if (!config.anonymous_auth) warn("anonymous-auth");
  if (config.client_cert_strict) warn("client-cert-strict");
  if (config.tls_min_version != ClusterConfig{}.tls_min_version) warn("tls-min-version");
}

}  // namespace

void check_pass_through(const Validation& process, Reporter& report, CheckedCluster& cluster) {
  const std::vector<std::string>& texts = cluster.config.pass_through;
  if (texts.size() > targets_max) {
    report.mistake({"pass-through", targets_max},
                   "--pass-through is given {} times: at most {} are possible.", texts.size(),
                   targets_max);
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    check_target(texts[i], i, process, report, cluster);
  }
  Mode& mode = cluster.config.mode;
  if (mode == Mode::automatic) {
    const bool nothing_else = !texts.empty() && !has_something_of_its_own(cluster.config);
    mode = nothing_else ? Mode::l4 : Mode::l7;
  }
  if (mode == Mode::l7) return cluster.pass_through.clear();
  if (texts.empty()) {
    report.mistake("mode", "--mode=l4 needs to know where to: write --pass-through=ADDR:PORT.");
  }
  if (cluster.config.hibernated) {
    report.mistake("hibernated",
                   "--hibernated needs --mode=l7: what is passed on untouched cannot be answered.");
  }
  warn_of_what_has_no_effect(report, cluster.config);
}

}  // namespace sluice::config
