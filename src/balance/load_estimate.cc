// SPDX-License-Identifier: GPL-3.0-or-later
// Fixed costs per class of request.
#include "sluice/balance/load_estimate.h"

#include "sluice/base/check.h"

namespace sluice::balance {

std::string_view to_string(RequestClass request) {
  switch (request) {
    case RequestClass::read: return "read";
    case RequestClass::write: return "write";
    case RequestClass::list: return "list";
    case RequestClass::watch: return "watch";
    case RequestClass::watch_list: return "watch_list";
    case RequestClass::long_running: return "long_running";
    case RequestClass::tunnel: return "tunnel";
  }
  return "unknown";
}

FixedLoadEstimate::FixedLoadEstimate(FixedLoadOptions options) : options_(options) {
  CHECK_GE(options_.list_units, 1u);
}

std::uint32_t FixedLoadEstimate::units(const CostQuestion& question) const {
  switch (question.request) {
    case RequestClass::list:
    case RequestClass::watch_list: return options_.list_units;
    case RequestClass::read:
    case RequestClass::write:
    case RequestClass::watch:
    case RequestClass::long_running:
    case RequestClass::tunnel: return 1;
  }
  return 1;
}

}  // namespace sluice::balance
