// SPDX-License-Identifier: GPL-3.0-or-later
// What the clusters of one worker share: its bytes and its CPU time, who makes room when they are
// short, and the names under which clients are told apart before it is known whose they are. All
// that belongs to one cluster is its Proxy's.
//
//   Resources (one per worker) ── Proxy (one per cluster that is used there)
//
// Thread: the worker's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "sluice/io/reactor.h"
#include "sluice/observability/metrics.h"
#include "sluice/proxy/client_keys.h"
#include "sluice/proxy/client_side.h"

namespace sluice::proxy {

class Proxy;

struct ResourcesOptions {
  std::size_t replay_body_bytes_per_worker = 64 * 1024 * 1024;
  std::size_t body_bytes_per_worker = 256 * 1024 * 1024;  // above it no exchange is admitted
  // A worker is short of its own CPU when work has waited for it for longer than `wait`, all the
  // time for `patience`. Zero: never.
  Duration overload_wait = std::chrono::milliseconds(100);
  Duration overload_patience = std::chrono::seconds(1);

  friend bool operator==(const ResourcesOptions&, const ResourcesOptions&) = default;
};

// What was ended because it made a transition that it must not make.
enum class Mistake : std::uint8_t { exchange, connection };
std::string_view to_string(Mistake mistake);

struct ResourcesMetrics {
  explicit ResourcesMetrics(metrics::Registry& registry);
  metrics::CounterTable wrong_transitions;  // Mistake
  metrics::GaugeId shedding;
  metrics::GaugeId body_bytes;
  metrics::GaugeId window_bytes;
  metrics::GaugeId connection_bytes;
};

// What a client's connection holds outside of its requests: a head that is being received, answers
// in the codec, what is not sent yet.
class ConnectionHolding {
 public:
  virtual ~ConnectionHolding() = default;
  virtual std::size_t held_bytes() const = 0;
  // Itself, of a stranger that has no request: who is proven may rest, within its share of
  // connections.
  virtual std::size_t resting_bytes() const = 0;
  virtual const ClientFacts& facts() const = 0;
  // Of its cluster; null as long as nobody knows which that is.
  virtual const Proxy* proxy() const = 0;
  // It ends now, so that others have room.
  virtual void end_for_room() = 0;
};

// Of all connections.
struct ConnectionBytes {
  std::size_t held = 0;  // see ConnectionHolding
  std::size_t own = 0;   // what they cost by themselves
};

class ResourcesEvents {
 public:
  virtual ~ResourcesEvents() = default;
  // Asked for with every request.
  virtual ConnectionBytes connection_bytes() const = 0;
  // Those of clients.
  virtual std::vector<ConnectionHolding*> holding_connections() = 0;
};

// All outlive the object.
struct ResourcesParts {
  io::Reactor& reactor;
  std::size_t worker;
  metrics::Cells& cells;
  const ResourcesMetrics& metrics;
  ResourcesEvents& events;
  HashKey key;
};

class Resources {
 public:
  Resources(const ResourcesParts& parts, const ResourcesOptions& options);
  ~Resources();  // CHECKs that no proxy is left
  Resources(const Resources&) = delete;
  Resources& operator=(const Resources&) = delete;

  // The names of a new connection's client at this address; without a user's.
  ClientKeys keys(std::string_view address);

  // A request begins, or a connection holds much: others may need it. Of the cluster that holds
  // most, who holds most of that loses it.
  void look_at_room();
  // Writes the gauges; called a few times a second.
  void publish();

  class State;
  State& state() { return *state_; }  // for the proxies

 private:
  std::unique_ptr<State> state_;
};

}  // namespace sluice::proxy
