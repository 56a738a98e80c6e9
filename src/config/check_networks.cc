// SPDX-License-Identifier: GPL-3.0-or-later
// Checks of networks: whose PROXY headers are believed, whose clients are not counted.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "checks.h"

namespace sluice::config {
namespace {

struct NetworksFlag {
  std::string_view name;
  std::string_view if_all;  // what it means to name every address
  const std::vector<std::string>& texts;
  std::vector<io::Network>& networks;
};

void read_networks(const NetworksFlag& flag, Validation& result) {
  for (const std::string& text : flag.texts) {
    const auto network = io::Network::parse(text);
    if (!network) {
      result.mistakes.push_back(fmt::format("--{}: {}.", flag.name, network.error().context));
      continue;
    }
    if (std::ranges::find(flag.networks, *network) != flag.networks.end()) {
      result.mistakes.push_back(fmt::format("--{}={} is given twice: keep one of them.", flag.name,
                                            network->to_string()));
    }
    if (network->prefix_bits() == 0) {
      result.warnings.push_back(fmt::format("--{}={}: {}", flag.name, text, flag.if_all));
    }
    flag.networks.push_back(*network);
  }
}

}  // namespace

void check_networks(Validation& result) {
  const Config& config = result.config;
  read_networks({"proxy-protocol-from",
                 "whoever can connect may claim to be any client; name the networks of your "
                 "balancers, and of nobody else.",
                 config.proxy_protocol_from, result.proxy_protocol_from},
                result);
  read_networks({"exempt-clients",
                 "nobody of that kind of address is counted, and one of them can take what all "
                 "need; name the networks that you trust.",
                 config.exempt_clients, result.exempt_clients},
                result);
}

}  // namespace sluice::config
