// SPDX-License-Identifier: GPL-3.0-or-later
// The HTTP/2 connections of one worker to one backend for one kind of request, and who waits for a
// place on them.
//
// Kinds, because a kube-apiserver trusts request-header fields on any stream of a connection
// whose certificate it trusts, and answers one anonymous or unauthorised request with GOAWAY for
// the whole connection (k8s.io/apiserver pkg/endpoints/filters/authentication.go):
//   identity  our front-proxy certificate; only streams for which we set X-Remote-User
//   bearer    no client certificate; tokens that have earned an answer other than 401 here
//   suspect   no client certificate; unproven tokens and requests without any credential
//   suspect_identity  our front-proxy certificate, for certificate users that are anonymous by name
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "sluice/backend/endpoint.h"
#include "sluice/backend/stream.h"
#include "sluice/base/random.h"
#include "sluice/io/timer_wheel.h"
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

struct PoolOptions {
  Duration ping_interval = std::chrono::seconds(10);
  Duration ping_timeout = std::chrono::seconds(5);
  // kube-apiserver sends GOAWAY after 90 s without streams (pkg/server/secure_serving.go).
  Duration idle_timeout = std::chrono::seconds(75);
  Duration connection_age_max = std::chrono::hours(1);
  // Our own bound below what the backend allows; a margin is kept for cancelled streams that the
  // backend still counts.
  std::uint32_t streams_per_connection_max = 100;
  std::size_t connections_max = 256;
  std::size_t connecting_max = 2;
  std::size_t draining_max = 8;
  Duration connect_spacing = Duration::zero();  // least time between two connects
  Duration wait_timeout = std::chrono::seconds(5);
  Duration reconnect_delay_min = std::chrono::milliseconds(50);
  Duration reconnect_delay_max = std::chrono::seconds(3);
  // A cancelled stream keeps its place this long: the backend may still run its handler, and one
  // that has too many unfinished handlers ends the whole connection (golang.org/x/net/http2
  // scheduleHandler).
  Duration cancelled_place_held = std::chrono::seconds(1);
  http2::SessionOptions session{.server = false};
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
enum class PoolEvent : std::uint8_t { connected, connect_failed, connection_lost, goaway };

class Session;

class SessionPool {
 public:
  using OnEvent = std::function<void(PoolEvent, const std::string& context)>;

  // `context` is replaceable by set_context (certificates change).
  SessionPool(net::Transport& transport, Endpoint endpoint, PoolKind kind,
              const PoolOptions& options, tls::ClientContext& context, std::uint64_t seed,
              OnEvent on_event);
  ~SessionPool();  // CHECKs that terminate() has finished

  // Puts the request on a connection, now or as soon as there is a place. `has_body`: the handler
  // will be asked for body bytes. `ends_connection`: the backend is known to send GOAWAY after this
  // request, so that no other stream should follow it on its connection.
  void open(Stream& stream, bool has_body, bool ends_connection = false);

  // Opens the first connection ahead of need.
  void warm_up();
  // True while the last connect failed and no connection is ready.
  bool unreachable() const { return failures_ > 0 && ready_connections() == 0; }

  // Ends all connections; streams end with connection_lost. The pool may be destroyed when
  // terminated() is true.
  void terminate();
  bool terminated() const { return sessions_.empty(); }

  PoolKind kind() const { return kind_; }
  const Endpoint& endpoint() const { return endpoint_; }
  const PoolCounters& counters() const { return counters_; }
  std::size_t ready_connections() const;
  std::size_t connections() const { return sessions_.size(); }
  std::size_t open_streams() const;

 private:
  friend class Session;
  friend class Stream;

  Session* session_with_place();
  void provide_places();
  void await_held_place();
  void held_place_came_free();
  void connect();
  void serve_waiting();
  void end_unconnected(List<Stream, WaitingTag>& streams, const std::string& context);
  void fail_waiting(const std::string& context);
  void session_ready(Session& session);
  void session_draining(Session& session);
  void session_ended(Session& session, const Error& error, bool was_connecting);
  void session_closed(Session& session);
  void retire_oldest();
  void reconnect();
  void waited_too_long();
  void remove_waiting(Stream& stream);

  net::Transport& transport_;
  Endpoint endpoint_;
  PoolKind kind_;
  PoolOptions options_;
  tls::ClientContext& context_;
  Random random_;
  OnEvent on_event_;
  PoolCounters counters_;
  std::vector<std::unique_ptr<Session>> sessions_;  // oldest first
  SlotMap<Stream*> streams_;
  List<Stream, WaitingTag> waiting_;
  std::size_t waiting_count_ = 0;  // who is being told that waiting was in vain included
  std::uint32_t failures_ = 0;     // connects that failed in a row
  Instant next_connect_{};
  bool terminating_ = false;
  io::Timer reconnect_timer_;
  io::Timer waiting_timer_;
  io::Timer held_place_timer_;
};

}  // namespace sluice::backend
