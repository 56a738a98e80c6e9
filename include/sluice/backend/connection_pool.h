// SPDX-License-Identifier: GPL-3.0-or-later
// The HTTP/2 connections of one worker to one backend for one kind of request, and who waits for a
// place on them.
//
// Kinds, because a kube-apiserver trusts request-header fields on any stream of a connection
// whose certificate it trusts, and answers one anonymous or unauthorised request with GOAWAY for
// the whole connection (k8s.io/apiserver pkg/endpoints/filters/authentication.go):
//   identity  our front-proxy certificate; only streams for which we set X-Remote-User
//   bearer    no client certificate; tokens that have earned an answer from behind authentication
//   suspect   no client certificate; unproven tokens and requests without any credential
//   suspect_identity  our front-proxy certificate, for certificate users that are anonymous by name
//
// What stays (watches, logs, upgrades) has connections of its own. An API server sends GOAWAY now
// and then after any request (--goaway-chance; pkg/server/filters/goaway.go) and always after some:
// where many short requests pass no connection lives long, and what stays there would have to move
// with each of them, or keep one after the other from closing.
//
// When nothing more can be opened, the last places are for clients that hold less than their share.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "sluice/backend/backend_stream.h"
#include "sluice/backend/connect_pace.h"
#include "sluice/backend/endpoint.h"
#include "sluice/http2/session.h"
#include "sluice/net/transport.h"
#include "sluice/tls/context.h"

namespace sluice::backend {

enum class PoolKind : std::uint8_t { identity, bearer, suspect, suspect_identity };
constexpr std::size_t pool_kinds = 4;
constexpr bool vouches(PoolKind kind) {
  return kind == PoolKind::identity || kind == PoolKind::suspect_identity;
}
constexpr bool is_suspect(PoolKind kind) {
  return kind == PoolKind::suspect || kind == PoolKind::suspect_identity;
}
std::string_view to_string(PoolKind kind);

// For a place on a connection.
struct OpenRequest {
  bool has_body = false;  // the handler will be asked for body bytes
  // The backend is known to send GOAWAY after this request, so that no other stream should follow
  // it on its connection.
  bool ends_connection = false;
  Stay stay = Stay::brief;
  // It asks to switch protocols, and gets a connection of its own (upgrade_pool.h).
  bool switches = false;
  // Who asks, and on which of its connections, as keyed hashes: clients get places in turns, and
  // within them connections.
  std::uint64_t client = 0;
  std::uint64_t connection = 0;
  Standing standing = Standing::proven;
};

struct PoolOptions {
  Duration ping_interval = std::chrono::seconds(10);
  Duration ping_timeout = std::chrono::seconds(5);
  Duration check_timeout = std::chrono::milliseconds(1500);  // the same after a failed probe
  // kube-apiserver sends GOAWAY after 90 s without streams (pkg/server/secure_serving.go).
  Duration idle_timeout = std::chrono::seconds(75);
  Duration connection_age_max = std::chrono::hours(1);
  // Our own bound below what the backend allows; a margin is kept for cancelled streams that the
  // backend still counts.
  std::uint32_t streams_per_connection_max = 100;
  std::size_t connections_max = 256;  // without those that drain, of which there may be as many
  std::size_t connecting_max = 2;
  std::size_t draining_max = 8;                 // above it watches are asked to move
  Duration connect_spacing = Duration::zero();  // least time between two connects
  // To one backend, of all pools that share a ConnectPace; 0: no limit.
  std::uint32_t connects_per_second = 50;
  Duration wait_timeout = std::chrono::seconds(5);
  Duration reconnect_delay_min = std::chrono::milliseconds(50);
  Duration reconnect_delay_max = std::chrono::seconds(3);
  // A cancelled stream keeps its place this long: the backend may still run its handler, and one
  // that has too many unfinished handlers ends the whole connection (golang.org/x/net/http2
  // scheduleHandler).
  Duration cancelled_place_held = std::chrono::seconds(1);
  // The other side of a client's session: heads that are sent there are received here.
  http2::SessionOptions session = default_session();

  static http2::SessionOptions default_session();
  friend bool operator==(const PoolOptions&, const PoolOptions&) = default;
};

// Written by the owner thread.
struct PoolCounters {
  std::uint64_t connects = 0;
  std::uint64_t connect_failures = 0;
  std::uint64_t connections_lost = 0;
  std::uint64_t goaways = 0;
  std::uint64_t streams = 0;
  std::uint64_t refused_streams = 0;
  std::uint64_t ping_timeouts = 0;
  std::uint64_t retired = 0;  // draining connections whose watches were asked to move
};

// What the owner of the backends wants to know at once.
enum class PoolEvent : std::uint8_t {
  connected,
  connect_failed,
  connection_lost,
  goaway,
  silent,  // an open connection gave no sign of life; connection_lost may follow
};

class ConnectionPool {
 public:
  using OnEvent = std::function<void(PoolEvent, const std::string& context)>;

  // `transport` outlives the pool.
  ConnectionPool(net::Transport& transport, Endpoint endpoint, PoolKind kind,
                 const PoolOptions& options, std::shared_ptr<const tls::ClientContext> context,
                 std::uint64_t seed, OnEvent on_event,
                 std::shared_ptr<ConnectPace> pace = std::make_shared<ConnectPace>());
  ~ConnectionPool();  // CHECKs that terminate() has finished
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  // Puts the request on a connection, now or as soon as there is a place and it is its client's
  // turn.
  void open(BackendStream& stream, const OpenRequest& request);

  // Opens the first connection ahead of need.
  void warm_up();
  // From now on. Under another context connections drain one after the other, the first of them
  // when one under the new context is ready: while there is none, those that are there serve.
  void update(const PoolOptions& options, std::shared_ptr<const tls::ClientContext> context);
  // Of a backend that leaves: what is there drains, and watches move. Whether nothing is left. To
  // be called now and then.
  bool leave();
  // Each connection is asked for a sign of life; one that gives none within check_timeout is ended
  // if `confirmed` still says so then.
  void check(std::function<bool()> confirmed);
  // True while the last connect failed and no connection is ready.
  bool unreachable() const;
  // The same, and it was not the first that failed: who comes now would wait in vain.
  bool hopeless() const;
  // Somebody else has been answered there: whoever waits to connect again need not.
  void retry();
  // No place is free, and no connection more may be opened.
  bool full(Stay stay) const;

  // Ends all connections; streams end with connection_lost. The pool may be destroyed when
  // terminated() is true.
  void terminate();
  bool terminated() const { return connections() == 0; }

  PoolKind kind() const;
  const PoolCounters& counters() const;
  std::size_t ready_connections() const;
  std::size_t connections() const;
  std::size_t open_streams() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice::backend
