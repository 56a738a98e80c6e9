// SPDX-License-Identifier: GPL-3.0-or-later
// The EndpointSlices of one Service (discovery.k8s.io/v1): lists and watch events go in as they
// come, addresses come out. Pure.
//
// An endpoint counts while it serves and does not terminate: what terminates is left at once, so
// that what it carries can end in time. One that is not ready and serves stays: probes of our own
// say how it is. Conditions that nobody has set mean yes (EndpointConditions in
// k8s.io/api/discovery/v1/types.go).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/io/address.h"

namespace sluice::discovery {

class Slices {
 public:
  // Of whoever writes them, and more than any Service of API servers has.
  static constexpr std::size_t slices_max = 256;
  static constexpr std::size_t addresses_max = 1024;  // of all slices
  static constexpr std::size_t list_bytes_max = std::size_t{4} * 1024 * 1024;
  static constexpr std::size_t event_bytes_max = std::size_t{1} * 1024 * 1024;

  // `port_name` of the Service's port; empty: the only one that there is. `slice`: this one alone;
  // empty: all of the Service.
  Slices(std::string service, std::string port_name, std::string slice = "")
      : service_(std::move(service)), port_name_(std::move(port_name)), slice_(std::move(slice)) {}

  // An EndpointSliceList takes the place of all that is known; on an error nothing has changed.
  Result<void> take_list(std::string_view json);

  enum class Event : std::uint8_t {
    taken,    // it has changed nothing
    changed,  // perhaps addresses() are others
    expired,  // the server does not know any more what came before: to be listed again
  };
  // One event of a watch, without the line end.
  Result<Event> take_event(std::string_view json);

  // From where a watch goes on.
  const std::string& resource_version() const { return resource_version_; }
  std::vector<io::Address> addresses() const;  // sorted, each once

 private:
  using ByName = std::map<std::string, std::vector<io::Address>>;
  // Nothing: it is gone.
  Result<bool> replace(const std::string& name, std::optional<std::vector<io::Address>> addresses);
  bool is_one(const std::string& name) const { return slice_.empty() || slice_ == name; }

  const std::string service_;
  const std::string port_name_;
  const std::string slice_;
  ByName slices_;
  std::size_t sum_ = 0;  // of their addresses
  std::string resource_version_;
};

// Of the library that reads them.
std::string json_version();

}  // namespace sluice::discovery
