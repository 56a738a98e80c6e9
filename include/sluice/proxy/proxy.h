// SPDX-License-Identifier: GPL-3.0-or-later
// One worker's exchanges, and all that they share: the backends, the choice among them, budgets,
// metrics and the access log. Thread: the worker's.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sluice/backend/backend_set.h"
#include "sluice/balance/load_board.h"
#include "sluice/balance/load_estimate.h"
#include "sluice/balance/picker.h"
#include "sluice/base/slot_map.h"
#include "sluice/kubernetes/identity_fields.h"
#include "sluice/observability/access_log.h"
#include "sluice/observability/metrics.h"
#include "sluice/proxy/body_queue.h"
#include "sluice/proxy/client_side.h"
#include "sluice/proxy/local_reply.h"
#include "sluice/proxy/token_proofs.h"
#include "sluice/proxy/window_growth.h"

namespace sluice::proxy {

struct ProxyOptions {
  Duration request_timeout = std::chrono::seconds(75);  // zero: none
  std::size_t replay_body_bytes = 256 * 1024;           // kept per stream
  std::size_t replay_body_bytes_per_worker = 64 * 1024 * 1024;
  std::size_t body_bytes_per_worker = 256 * 1024 * 1024;     // above it no exchange is admitted
  std::uint32_t stream_window_bytes = 64 * 1024;             // what each stream is granted at first
  std::uint32_t stream_window_bytes_max = 1024 * 1024;       // what it may grow to
  Duration client_stall_timeout = std::chrono::seconds(60);  // see Exchange::check_progress
  std::uint32_t replay_budget_percent = 20;
  std::uint32_t tries_max = 3;
  std::size_t proven_tokens_max = 65536;
  balance::PickerOptions picker;
  bool vouches_for_identity = false;
  // client-go calls a watch that lived less than a second without an event an error, and lists
  // again (k8s.io/client-go tools/cache/reflector.go); so a watch ends this long after its last
  // byte.
  Duration watch_end_delay = std::chrono::milliseconds(1200);
  Duration watch_end_jitter = std::chrono::milliseconds(800);
  Duration watch_list_end_min = std::chrono::seconds(1);
  Duration watch_list_end_max = std::chrono::seconds(5);
};

// Why a watch was ended by us.
enum class WatchEnd : std::uint8_t { backend_ended, backend_lost, retired, drain };
constexpr std::size_t watch_ends = 4;

struct ProxyMetrics {
  ProxyMetrics(metrics::Registry& registry, const backend::Cluster& cluster);
  metrics::CounterTable requests;       // class × backend
  metrics::CounterTable responses;      // code class
  metrics::CounterTable local_replies;  // reason
  metrics::CounterTable replays;        // why
  metrics::CounterTable watches_ended;  // WatchEnd
  metrics::CounterTable stalled_ended;  // ordinary, long-running
  metrics::GaugeId stalled;
  metrics::CounterId identity_fields_dropped;
  metrics::CounterId replay_budget_exhausted;
  metrics::CounterId drain_answers;
  metrics::CounterId identity_refusals;
  metrics::GaugeId exchanges;
  metrics::GaugeId body_bytes;
  metrics::GaugeId window_bytes;
  metrics::CounterId request_body_bytes;
  metrics::CounterId response_body_bytes;
  metrics::HistogramId head_seconds;  // from the request's head to the answer's
};

class Exchange;
struct FinishedTag;

// Called when a backend turned out not to take our identity, or answered as one that shuts down.
class ProxyEvents {
 public:
  virtual ~ProxyEvents() = default;
  virtual void on_identity_refused(std::size_t backend) = 0;
  virtual void on_drain_answer(std::size_t backend) = 0;
};

struct ProxyParts {
  io::Reactor& reactor;
  backend::BackendSet& backends;
  balance::LoadBoard& board;
  std::size_t worker;
  const kubernetes::IdentityFields& identity_fields;
  metrics::Cells& cells;
  const ProxyMetrics& metrics;
  observability::AccessLog* access_log;  // may be null
  ProxyEvents& events;
  std::uint64_t seed;
  std::array<std::uint64_t, 2> token_key;
};

class Proxy {
 public:
  Proxy(const ProxyParts& parts, const ProxyOptions& options);
  ~Proxy();  // CHECKs that no exchange is left

  // A complete request head. The exchange calls `client` until client_gone() or its end.
  SlotId start(ClientSide& client, http2::StreamId stream, http::RequestHead&& head,
               bool end_of_stream);
  // A request that never became one: answered with a Status.
  SlotId refuse(ClientSide& client, http2::StreamId stream, int code, ReplyReason reason,
                std::string_view message);
  // Null when it has ended.
  Exchange* find(SlotId id);
  std::size_t exchanges() const { return exchanges_.size(); }
  // Writes the gauges; called a few times a second.
  void publish();

  // Ends watches, each at a random moment before `until`; other long-running requests end at
  // `until`. For our own stop.
  void end_long_running(Instant until);

 private:
  friend class Exchange;
  SlotId add(std::unique_ptr<Exchange> exchange);
  void finished(Exchange& exchange);  // reaped at the end of the turn
  void reap();
  // Suspects have a budget of their own: wrong tokens must not use up that of honest requests.
  bool take_replay_token(bool suspect);
  void look_for_stalls();
  // Close to where nothing is admitted any more.
  bool short_of_memory() const { return held_bytes() > options_.body_bytes_per_worker / 4 * 3; }
  // What requests in progress make us hold.
  std::size_t held_bytes() const { return blocks_.leased() * BlockPool::block_bytes + head_bytes_; }
  // And what peers may send on top of it whenever they like, because a window has grown.
  std::size_t committed_bytes() const { return held_bytes() + lent_bytes_; }
  // Doubles a window if the budget lends the bytes; returns whether it did.
  bool lend(WindowGrowth& growth);
  Instant now() const { return parts_.reactor.now(); }

  ProxyParts parts_;
  ProxyOptions options_;
  Random random_;
  balance::Picker picker_;
  balance::WorkerLoad load_;
  balance::FixedLoadEstimate estimate_;
  TokenProofs proofs_;
  BlockPool blocks_;
  SlotMap<std::unique_ptr<Exchange>> exchanges_;
  std::vector<SlotId> finished_;
  std::vector<std::unique_ptr<Exchange>> spare_;  // for reuse: their memory is warm
  std::array<double, 2> replay_tokens_{50, 50};   // of honest requests, of suspects
  std::size_t retained_bytes_ = 0;                // of request bodies that could be replayed
  std::size_t head_bytes_ = 0;                    // of request heads
  std::size_t lent_bytes_ = 0;                    // by which windows have grown
  std::uint32_t next_checked_ = 0;  // slot at which the look for stalled streams goes on
  std::int64_t stalled_ = 0;        // found in this round
  io::Timer stall_timer_;
  io::TurnEnd reap_;
};

}  // namespace sluice::proxy
