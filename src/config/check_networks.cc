// SPDX-License-Identifier: GPL-3.0-or-later
// Checks of networks: whose PROXY headers are believed, whose clients are not counted.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "checks.h"

namespace sluice::config {
namespace {

struct NetworksFlag {
  std::string_view name;
  std::string_view if_all;  // what it means to name every address; empty: nothing to warn of
  const std::vector<std::string>& texts;
  std::vector<io::Network>& networks;
};

void read_networks(const NetworksFlag& flag, Reporter& report) {
  for (std::size_t i = 0; i < flag.texts.size(); ++i) {
    const About about(flag.name, i);
    const auto network = io::Network::parse(flag.texts[i]);
    if (!network) {
      report.mistake(about, "--{}: {}.", flag.name, network.error().context);
      continue;
    }
    if (std::ranges::find(flag.networks, *network) != flag.networks.end()) {
      report.mistake(about, "--{}={} is given twice: keep one of them.", flag.name,
                     network->to_string());
    }
    if (network->prefix_bits() == 0 && !flag.if_all.empty()) {
      report.warning(about, "--{}={}: {}", flag.name, flag.texts[i], flag.if_all);
    }
    flag.networks.push_back(*network);
  }
}

}  // namespace

void check_networks(Reporter& report, Validation& process) {
  const ProcessConfig& config = process.config;
  read_networks({"proxy-protocol-from",
                 "whoever can connect may claim to be any client; name the networks of your "
                 "balancers, and of nobody else.",
                 config.proxy_protocol_from, process.proxy_protocol_from},
                report);
  read_networks({"exempt-clients",
                 "nobody of that kind of address is counted, and one of them can take what all "
                 "need; name the networks that you trust.",
                 config.exempt_clients, process.exempt_clients},
                report);
}

void check_allowed_networks(Reporter& report, CheckedCluster& cluster) {
  const std::vector<std::string>& texts = cluster.config.allowed_networks;
  // Whoever writes it means to keep somebody out.
  if (texts.empty() && report.is_said("allowed-networks")) {
    report.mistake("allowed-networks",
                   "--allowed-networks is empty: name the networks of clients, or leave it out to "
                   "serve everybody.");
  }
  read_networks({"allowed-networks", "", texts, cluster.allowed_networks}, report);
}

void check_backend_networks(Reporter& report, const CheckedCluster& cluster,
                            std::vector<io::Network>& networks) {
  read_networks({"backend-networks", "", cluster.config.backend_networks, networks}, report);
  for (const io::Network& network : networks) {
    if (network.prefix_bits() > 0) continue;
    report.mistake("backend-networks",
                   "--backend-networks={} has every address: name those of the API servers.",
                   network.to_string());
  }
}

}  // namespace sluice::config
