// SPDX-License-Identifier: GPL-3.0-or-later
// Makes room when a worker's bytes are used up: whoever holds most of a cluster's (holdings.h)
// loses half of it, or as much more as is missing, the largest requests and connections first.
// Thread: the worker's.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "exchange.h"
#include "holdings.h"
#include "shared.h"
#include "sluice/base/slot_map.h"
#include "sluice/observability/log_pace.h"

namespace sluice::proxy {

class Room {
 public:
  using Exchanges = SlotMap<std::unique_ptr<Exchange>>;
  using Connections = Tenant::Connections;

  explicit Room(Shared& shared) : shared_(shared) {}  // which outlives this

  // Walks over everything.
  void make(Exchanges& exchanges, const Connections& connections);

 private:
  // One of them.
  struct Held {
    std::size_t bytes = 0;
    SlotId exchange;
    ConnectionHolding* connection = nullptr;
    const ClientFacts* client = nullptr;
  };

  std::optional<Holdings::Holder> largest(const Connections& connections) const;
  static std::vector<Held> held_by(const Holdings::Holder& holder, Exchanges& exchanges,
                                   const Connections& connections);
  void end(const Held& held, Exchanges& exchanges);
  void tell(const Holdings::Holder& holder, const ClientFacts& most);

  Shared& shared_;
  log::Pace told_;
};

}  // namespace sluice::proxy
