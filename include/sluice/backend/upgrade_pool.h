// SPDX-License-Identifier: GPL-3.0-or-later
// The connections of one worker to one backend for requests of one kind (connection_pool.h) that
// ask to switch protocols: one HTTP/1.1 connection for each, opened for it, and never used again.
// What they wait for is their turn to connect: handshakes cost the backend most. Suspects have
// connections of their own kind, few at a time, so they use up nothing of anybody else's.
#pragma once

#include <memory>
#include <string>

#include "sluice/backend/backend_stream.h"
#include "sluice/backend/connection_pool.h"
#include "sluice/http1/upgrade.h"
#include "sluice/net/transport.h"
#include "sluice/tls/context.h"

namespace sluice::backend {

struct UpgradeOptions {
  std::size_t connecting_max = 4;                           // at a time, their handshakes included
  std::size_t connections_max = SIZE_MAX;                   // at a time
  Duration connect_spacing = std::chrono::milliseconds(1);  // least time between two connects
  Duration wait_timeout = std::chrono::seconds(5);
  // What a backend may be ahead of a client that does not read; of one receive more.
  std::size_t window_bytes = std::size_t{64} * 1024;
  http1::UpgradeOptions heads;

  friend bool operator==(const UpgradeOptions&, const UpgradeOptions&) = default;
};

// Written by the owner thread.
struct UpgradeCounters {
  std::uint64_t connects = 0;
  std::uint64_t connect_failures = 0;
  std::uint64_t connections_lost = 0;
};

class UpgradePool {
 public:
  using OnEvent = std::function<void(PoolEvent, const std::string& context)>;

  // `transport` outlives the pool.
  UpgradePool(net::Transport& transport, const Endpoint& endpoint, const UpgradeOptions& options,
              std::shared_ptr<const tls::ClientContext> context, OnEvent on_event);
  ~UpgradePool();  // CHECKs that terminate() has finished
  UpgradePool(const UpgradePool&) = delete;
  UpgradePool& operator=(const UpgradePool&) = delete;

  // Opens a connection for the request, now or as soon as it is its client's turn.
  void open(BackendStream& stream, const OpenRequest& request);

  // For connections that are opened from now on.
  void update(const UpgradeOptions& options, std::shared_ptr<const tls::ClientContext> context);
  // Nothing is carried, and nobody waits.
  bool unused() const;

  // Ends all connections; streams end with connection_lost. What is ending in order may go on with
  // that, until this is called once more. The pool may be destroyed when terminated() is true.
  void terminate();
  bool terminated() const { return connections() == 0; }

  const UpgradeCounters& counters() const;
  std::size_t connections() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice::backend
