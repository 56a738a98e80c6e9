// SPDX-License-Identifier: GPL-3.0-or-later
// What one client's connection has seen of resources, and through which backends: where it has
// written to them, and where its newest knowledge of their revisions comes from. Another backend's
// cache may lag behind that. Pure; bounded, the resource that was noted longest ago goes first;
// made when the first is noted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "sluice/base/time.h"

namespace sluice::proxy {

class ResourceMemory {
 public:
  static constexpr std::size_t resources_max = 16;

  // A resource by its hash. Who chooses names that share one, shares with himself.
  enum class Name : std::uint64_t {};
  static Name name_of(std::string_view group, std::string_view resource);

  // A write was acknowledged there; objects, or events, were read there.
  void wrote(Name resource, std::size_t backend, Instant now);
  void read(Name resource, std::size_t backend, Instant now);

  bool empty() const { return state_ == nullptr; }
  // The backend of the last write, not longer ago than `within`.
  std::optional<std::size_t> written_at(Name resource, Duration within, Instant now) const;
  // The backend of what came last of it, written or read.
  std::optional<std::size_t> newest_at(Name resource, Duration within, Instant now) const;

 private:
  struct Seen {
    Instant when{};
    std::size_t backend = SIZE_MAX;  // nothing
  };
  struct Entry {
    Name resource{};
    Seen written;
    Seen newest;  // of both
  };
  struct State;
  struct Free {
    void operator()(State* state) const;
  };

  Entry& entry(Name resource);
  const Entry* find(Name resource) const;
  static std::optional<std::size_t> within(const Seen& seen, Duration within, Instant now);

  std::unique_ptr<State, Free> state_;
};

}  // namespace sluice::proxy
