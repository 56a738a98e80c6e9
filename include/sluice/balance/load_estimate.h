// SPDX-License-Identifier: GPL-3.0-or-later
// What a request is expected to cost a backend, in seats as API Priority and Fairness counts them:
// a GET or a write is 1, a LIST several. The interface is the place where learned costs (per
// resource and scope, corrected by the bytes that flow) replace the fixed ones.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::balance {

enum class RequestClass : std::uint8_t {
  read,          // get, and everything without a class of its own
  write,         // create, update, patch, delete
  list,          // list, deletecollection
  watch,         // resumed from a resource version: cheap to start
  watch_list,    // a watch that sends the whole collection first
  long_running,  // proxy, log follow, and the unknown: counts as open like a watch
  tunnel,        // exec, attach, port-forward: counts as open, apart from watches
};

// Whether the request is counted as an open watch from the pick to its end.
constexpr bool counts_as_watch(RequestClass request) {
  return request == RequestClass::watch || request == RequestClass::watch_list ||
         request == RequestClass::long_running;
}

std::string_view to_string(RequestClass request);

struct CostQuestion {
  RequestClass request = RequestClass::read;
  std::string_view api_group = {};
  std::string_view resource = {};        // empty for non-resource requests
  std::string_view namespace_name = {};  // empty: all namespaces
};

class LoadEstimate {
 public:
  virtual ~LoadEstimate() = default;
  // Units of work to count from the pick on; at least 1.
  virtual std::uint32_t units(const CostQuestion& question) const = 0;
};

struct FixedLoadOptions {
  // A LIST of a few hundred objects, by the servers' own rule of one seat per 100 objects.
  std::uint32_t list_units = 5;
};

class FixedLoadEstimate final : public LoadEstimate {
 public:
  explicit FixedLoadEstimate(FixedLoadOptions options = {});
  std::uint32_t units(const CostQuestion& question) const override;

 private:
  FixedLoadOptions options_;
};

}  // namespace sluice::balance
