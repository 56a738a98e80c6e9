// SPDX-License-Identifier: GPL-3.0-or-later
// The exchanges of one cluster on one worker, and all that they share: its backends, the choice
// among them, what its tokens have proven, what its clients hold, its metrics. What belongs to the
// worker is in resources.h. An exchange reaches nothing of another cluster. Thread: the worker's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sluice/backend/backend_set.h"
#include "sluice/balance/load_board.h"
#include "sluice/balance/picker.h"
#include "sluice/base/slot_map.h"
#include "sluice/http/body.h"
#include "sluice/kubernetes/identity_fields.h"
#include "sluice/observability/access_log.h"
#include "sluice/observability/metrics.h"
#include "sluice/proxy/client_side.h"
#include "sluice/proxy/local_reply.h"
#include "sluice/proxy/own_write.h"
#include "sluice/proxy/resources.h"
#include "sluice/proxy/watch_end.h"
#include "sluice/proxy/watch_history.h"

namespace sluice::proxy {

struct ProxyOptions {
  Duration request_timeout = std::chrono::seconds(75);   // zero: none
  std::size_t replay_body_bytes = 256 * 1024;            // kept per stream
  std::size_t body_bytes_per_client = 64 * 1024 * 1024;  // above it none of that client is
  std::uint32_t stream_window_bytes = 64 * 1024;         // what each stream is granted at first
  std::uint32_t stream_window_bytes_max = 1024 * 1024;   // what it may grow to
  // Requests without an answer yet, above which the same client's further ones are refused: those
  // without a credential, those with a token that has proven nothing. A client is an address here.
  std::uint32_t anonymous_requests_per_address = 128;
  std::uint32_t unproven_requests_per_address = 4096;
  // Tunnels of one client, those that are asked for included; 0: any number. Before anything is
  // proven a client is an address.
  std::uint32_t tunnels_per_client = 1000;
  std::uint32_t unproven_tunnels = 64;
  Duration client_stall_timeout = std::chrono::seconds(60);  // without 1 KB of progress
  std::uint32_t replay_budget_percent = 20;
  std::uint32_t tries_max = 3;
  std::size_t proven_tokens_max = 65536;
  // So long a client that has written is sent to where that was, as far as other servers would not
  // show it; zero: never.
  Duration write_affinity = std::chrono::seconds(5);
  balance::PickerOptions picker;
  bool vouches_for_identity = false;
  bool anonymous_requests = true;  // false: without a credential there is a 401, and nothing else
  WatchEndOptions watch_end;
  WatchHistoryOptions watch_history;

  friend bool operator==(const ProxyOptions&, const ProxyOptions&) = default;
};

// Why a request was sent to another backend.
enum class ReplayCause : std::uint8_t {
  not_executed,
  lost_before_answer,
  drain_answer,
  identity_refused,
  // It was answered, and another server may know more (kubernetes/server_lag.h).
  stale_cache,
  initializing,
  no_history,  // a watch that got 410 from a backend that has just begun to run
  unknown_path,
};
std::string_view to_string(ReplayCause cause);

// Why a request was to go to certain backends.
enum class Preference : std::uint8_t {
  client_wrote,    // what API servers act by
  resource_wrote,  // on this connection, the resource that is read
  lowest_version,  // while versions differ: it asks what servers serve
};
std::string_view to_string(Preference preference);

// Why a watch was ended by us.
enum class WatchEnd : std::uint8_t { backend_ended, backend_lost, retired, drain };
std::string_view to_string(WatchEnd end);

// Whereto bytes of tunnels went.
enum class TunnelWay : std::uint8_t { to_backend, to_client };
std::string_view to_string(TunnelWay way);

struct ProxyMetrics {
  explicit ProxyMetrics(metrics::Registry& registry);
  metrics::CounterTable responses;        // code class
  metrics::CounterTable local_replies;    // ReplyReason
  metrics::CounterTable replays;          // ReplayCause
  metrics::CounterTable replays_in_vain;  // ReplayCause: the same was said there
  metrics::CounterTable preferred;        // Preference
  metrics::CounterTable watches_ended;    // WatchEnd
  metrics::CounterId watches_held;        // until their first event
  metrics::CounterId watches_expired;     // of them, those whose client was given the 410
  metrics::CounterId watches_cut;         // within their first burst, when a drain was over
  metrics::CounterTable stalled_ended;    // ordinary, long-running
  metrics::CounterId made_room;           // ended because their client held most
  metrics::GaugeId stalled;
  metrics::CounterId identity_fields_dropped;
  metrics::CounterId replay_budget_exhausted;
  metrics::CounterId drain_answers;
  metrics::CounterId identity_refusals;
  metrics::GaugeId exchanges;
  metrics::GaugeId tunnels;
  metrics::CounterTable tunnel_bytes;  // TunnelWay
  metrics::CounterId request_body_bytes;
  metrics::CounterId response_body_bytes;
  metrics::HistogramId head_seconds;  // from the request's head to the answer's
};

class ProxyEvents {
 public:
  virtual ~ProxyEvents() = default;
  virtual void on_token_change(const TokenChange& change) = 0;
  virtual void on_own_write(const OwnWrite& write) = 0;
  // A request was sent to a backend.
  virtual void on_sent(std::size_t backend, kubernetes::RequestClass request_class) = 0;
  // A backend turned out not to take our identity, or answered as one that shuts down.
  virtual void on_identity_refused(std::size_t backend) = 0;
  virtual void on_drain_answer(std::size_t backend) = 0;
};

// All outlive the object.
struct ProxyParts {
  io::Reactor& reactor;
  Resources& resources;
  backend::BackendSet& backends;
  balance::LoadBoard& board;
  std::size_t worker;
  const kubernetes::IdentityFields& identity_fields;
  metrics::Cells& cells;
  const ProxyMetrics& metrics;
  std::string_view cluster;              // its name, for the access log
  observability::AccessLog* access_log;  // may be null
  ProxyEvents& events;
  std::uint64_t seed;
  HashKey key;  // the cluster's, see key_of_cluster()
};

class Proxy {
 public:
  Proxy(const ProxyParts& parts, const ProxyOptions& options);
  ~Proxy();  // CHECKs that no exchange is left
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // A complete request head; its exchange is named by the id from here on. It calls `client` until
  // client_gone() or its end. `misdirected`: it is meant for another cluster, and only told so.
  SlotId start(ClientSide& client, ClientStream stream, http::RequestHead&& head,
               bool end_of_stream, bool misdirected = false);
  // A request that never became one, as far as its head is known: answered with a Status.
  SlotId refuse(ClientSide& client, ClientStream stream, http::RequestHead&& head, int code,
                ReplyReason reason, std::string_view message);

  // How requests are treated that come from now on. `identity_fields` outlive what is called next.
  void update(const ProxyOptions& options, const kubernetes::IdentityFields& identity_fields);
  // Whether a request went to this backend, or tried to, and is not over yet.
  bool refers_to(std::size_t backend) const;

  // Another worker has learned it.
  void learn(const TokenChange& change);
  void learn(const OwnWrite& write);
  // What is known here of proven tokens; another process with the same key can learn it.
  std::vector<TokenChange> proven_tokens() const;

  // What the client does. All may be called for an exchange that has ended, and do nothing then.
  // Returns whether the bytes were taken: each will be credited.
  bool client_body(SlotId id, Bytes bytes);
  void client_end(SlotId id);
  // The client ends its direction of a tunnel; `in_order`: it has said so.
  void client_tunnel_end(SlotId id, bool in_order);
  // The body, or what follows it, breaks a rule of HTTP. Answered if nothing was answered yet; the
  // client's connection resets the stream in any case.
  void client_malformed(SlotId id, std::string_view why);
  // Never the end of a body whose exchange has ended: the answer is not whole.
  http::BodyResult client_body_wanted(SlotId id, MutableBytes room);
  // Those behind the answer's body; null for none. Valid until the next call.
  const http::Fields* trailers(SlotId id);
  // The client's stream or connection is gone; nothing is called on ClientSide any more.
  void client_gone(SlotId id);
  // Plans the end of a watch that is past its first burst.
  void plan_end(SlotId id, const EndWindow& window);

  // The names, among this cluster's clients, of an address and of a certificate's user there.
  std::uint64_t network_key(std::string_view address) const;
  std::uint64_t user_key(std::string_view address, std::string_view user) const;

  std::size_t exchanges() const;
  // One line for people, without anything secret; empty when it has ended.
  std::string describe(SlotId id) const;
  // Writes the gauges; called a few times a second.
  void publish();

  // For our own stop: from now on watches are planned to end within the window, those that resume
  // first; later ones too, and those in their first burst when that is over.
  void end_watches(Instant until);
  // The window of tunnels is over: they end in order.
  void end_tunnels();
  // The window is over: a watch that is still in its first burst must not look whole.
  void cut_first_bursts();

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice::proxy
