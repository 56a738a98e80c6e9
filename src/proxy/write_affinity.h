// SPDX-License-Identifier: GPL-3.0-or-later
// Which clients have lately written what API servers act by, and through which backends: their
// requests go there for a while, since the other servers' informers lag. A client is an identity at
// an address, whatever connection it has: two programs of one user that run one after the other
// are the same. Pure; bounded, the client that wrote longest ago goes first. One per worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>

#include "request_plan.h"
#include "sluice/balance/picker.h"
#include "sluice/base/time.h"
#include "sluice/proxy/client_keys.h"
#include "sluice/proxy/own_write.h"

namespace sluice::proxy {

class WriteAffinity {
 public:
  static constexpr std::size_t clients_max = 4096;
  // With more connections in a worker it is no single client: nodes behind one address, which share
  // a credential, would all follow the one that writes.
  static constexpr std::uint32_t connections_max = 16;

  // The name under which the request's client is remembered; 0: it has no credential. Of a token
  // the one that it has when it is proven: what was written has proven it.
  static std::uint64_t client_of(const RequestPlan& plan, const ClientKeys& keys);

  bool empty() const { return pins_.empty(); }
  // One more write, for `lasting` from now on. Whether the other workers should be told: of many
  // in a row they hear now and then.
  bool wrote(const OwnWrite& write, Duration lasting, Instant now);
  // Another worker says so.
  void learn(const OwnWrite& write, Instant now);
  // Where it has written within `lasting`; no backend: it has not.
  balance::BackendMask backend_of(std::uint64_t client, Duration lasting, Instant now);

 private:
  struct Pin {
    OwnWrite write;
    Instant written{};
    Instant told{};
  };
  using Pins = std::list<Pin>;  // who wrote last is last

  Pin& note(const OwnWrite& write, Instant now);
  void forget_first();

  Pins pins_;
  std::unordered_map<std::uint64_t, Pins::iterator> index_;
};

}  // namespace sluice::proxy
