// SPDX-License-Identifier: GPL-3.0-or-later
// Checks of whom a PROXY header is believed.
#include <fmt/format.h>

#include <algorithm>

#include "checks.h"

namespace sluice::config {

void check_proxy_protocol(Validation& result) {
  for (const std::string& text : result.config.proxy_protocol_from) {
    const auto network = io::Network::parse(text);
    if (!network) {
      result.mistakes.push_back(fmt::format("--proxy-protocol-from: {}.", network.error().context));
      continue;
    }
    if (std::ranges::find(result.proxy_protocol_from, *network) !=
        result.proxy_protocol_from.end()) {
      result.mistakes.push_back(fmt::format(
          "--proxy-protocol-from={} is given twice: keep one of them.", network->to_string()));
    }
    if (network->prefix_bits() == 0) {
      result.warnings.push_back(fmt::format(
          "--proxy-protocol-from={}: whoever can connect may claim to be any client; name the "
          "networks of your balancers, and of nobody else.",
          text));
    }
    result.proxy_protocol_from.push_back(*network);
  }
}

}  // namespace sluice::config
