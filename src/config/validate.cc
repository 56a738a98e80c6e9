// SPDX-License-Identifier: GPL-3.0-or-later
// Who is checked for what, and what comes of it.
#include "sluice/config/validate.h"

#include <algorithm>
#include <iterator>

#include "checks.h"
#include "sluice/base/quote.h"

namespace sluice::config {

namespace {

void check_process(const Environment& environment, Reporter& report, Validation& process) {
  check_listeners(report, process);
  check_networks(report, process);
  check_dns_servers(report, process);
  check_resources(environment, report, process);
  check_drain(report, process);
  check_access_log(environment, report, process.config);
}

// A cluster that could be served on L7, too, and is not. What is wrong with that must not keep it
// from what it is switched to; and is to be known before it is switched back.
void check_what_rests(const LoadedCluster& loaded, const Environment& environment,
                      const Validation& process, const Config& config, Findings& findings) {
  if (config.backends.empty() && config.backend_file.empty() &&
      config.discovery_kubeconfig.empty() && config.tls_cert_file.empty()) {
    return;
  }
  CheckedCluster rests;
  rests.config = config;
  Findings found;
  Reporter report(loaded.layer.places, loaded.file, found);
  check_backends(environment, process, report, rests);
  check_files(environment, report, rests);
  for (const std::string& mistake : found.mistakes) {
    findings.warnings.push_back(mistake + " (With --mode=l7; it is --mode=l4.)");
  }
}

CheckedCluster check_cluster(const LoadedCluster& loaded, std::size_t number,
                             const Environment& environment, Validation& process, Claims& claims) {
  CheckedCluster cluster;
  cluster.name = loaded.name;
  cluster.file = loaded.file;
  cluster.names_known = loaded.names_known;
  cluster.checked_at = environment.now;
  cluster.config = loaded.layer.config;
  static_cast<ProcessConfig&>(cluster.config) = process.config;
  // What is wrong with the only cluster is wrong with the process.
  Findings& findings = loaded.file.empty() ? static_cast<Findings&>(process) : cluster;
  findings.mistakes.insert(findings.mistakes.end(), loaded.mistakes.begin(), loaded.mistakes.end());
  if (!loaded.readable) return cluster;
  Reporter report(loaded.layer.places, loaded.file, findings);
  check_names(report, number, cluster, claims);
  if (!loaded.file.empty() && report.is_said("listen")) {
    check_own_listeners(process, report, number, loaded.layer.config.listen, claims);
  }
  check_tuning(report, cluster.config);
  check_allowed_networks(report, cluster);
  check_pass_through(process, report, cluster);
  if (cluster.config.mode == Mode::l4) {
    check_what_rests(loaded, environment, process, cluster.config, findings);
  } else {
    check_backends(environment, process, report, cluster);
    check_files(environment, report, cluster);
  }
  return cluster;
}

void append(std::string& out, const Findings& findings) {
  for (const std::string& note : findings.notes) out += "note: " + note + '\n';
  for (const std::string& warning : findings.warnings) out += "warning: " + warning + '\n';
  for (const std::string& mistake : findings.mistakes) out += "mistake: " + mistake + '\n';
}

}  // namespace

const Place* Reporter::find(const About& about) const {
  const auto place_of = [&](std::string_view flag) -> const Place* {
    const auto found = places_.find(flag);
    if (found == places_.end() || found->second.empty()) return nullptr;
    return &found->second[std::min(about.element, found->second.size() - 1)];
  };
  const Place* first = place_of(about.flag);
  const Place* second = place_of(about.other);
  // Of two values that disagree the one is shown that can be mended in this file.
  const auto here = [&](const Place* place) { return place != nullptr && place->file == file_; };
  return here(second) && !here(first) ? second : first;
}

bool Reporter::said_about_the_process(const About& about) const {
  const Place* place = find(about);
  return !file_.empty() && place != nullptr && place->file != file_;
}

std::string Reporter::where(const About& about) const {
  const Place* place = find(about);
  if (place != nullptr && !place->file.empty()) {
    return fmt::format("{}:{}", printable(place->file), place->line);
  }
  return printable(file_);
}

std::string Reporter::place(const About& about) const {
  const std::string where_it_is = where(about);
  return where_it_is.empty() ? where_it_is : where_it_is + ": ";
}

bool Validation::valid() const {
  return mistakes.empty() && conflicts.empty() &&
         std::ranges::all_of(
             clusters, [](const CheckedCluster& cluster) { return cluster.mistakes.empty(); });
}

std::string Validation::report() const {
  std::string out;
  append(out, *this);
  for (const std::string& conflict : conflicts) out += "mistake: " + conflict + '\n';
  std::size_t count = mistakes.size() + conflicts.size();
  for (const CheckedCluster& cluster : clusters) {
    append(out, cluster);
    count += cluster.mistakes.size();
  }
  if (valid()) {
    out += "configuration is valid\n";
  } else {
    fmt::format_to(std::back_inserter(out), "configuration is not valid: {} mistake{}\n", count,
                   count == 1 ? "" : "s");
  }
  return out;
}

Validation validate(const Loaded& loaded, const Environment& environment,
                    const std::vector<HeldCluster>& held) {
  Validation process;
  process.mistakes = loaded.mistakes;
  process.config = loaded.process.config;
  Reporter report(loaded.process.places, "", process);
  check_process(environment, report, process);
  if (!process.config.clusters.empty()) check_tuning(report, loaded.process.config);
  Claims claims(held);
  for (const LoadedCluster& one : loaded.clusters) {
    const std::size_t number = process.clusters.size();
    process.clusters.push_back(check_cluster(one, number, environment, process, claims));
  }
  claims.settle(process);
  return process;
}

Validation validate(const Config& config, const Environment& environment) {
  return validate(load(Layer{config, {}}), environment);
}

}  // namespace sluice::config
