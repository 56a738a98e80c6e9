// SPDX-License-Identifier: GPL-3.0-or-later
// One thread, one core, one ring, one of everything: listeners, client connections, exchanges and
// backend pools. Workers share nothing mutable on the data path; what they are told comes by
// mailbox, what they know leaves them through metric cells and the load board.
//
//   serving ──drain()──▶ draining ──▶ stopping ──▶ stopped
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "client_connection.h"
#include "sluice/backend/backend_set.h"
#include "sluice/http2/codec_memory.h"
#include "sluice/net/listener.h"
#include "sluice/proxy/proxy.h"
#include "sluice/tls/context.h"

namespace sluice::server {

struct WorkerMetrics {
  explicit WorkerMetrics(metrics::Registry& registry, const backend::Cluster& cluster);
  metrics::CounterId turns;
  metrics::CounterId completions;
  metrics::CounterId receive_starved;
  metrics::CounterId completion_overflow;
  metrics::CounterId submission_queue_full;
  metrics::CounterId sends;
  metrics::CounterId records;
  metrics::CounterId bytes_sent;
  metrics::CounterId bytes_received;
  metrics::CounterId handshakes_failed;
  metrics::CounterId accept_paused;
  metrics::CounterId accept_errors;
  metrics::CounterTable backend_connects;  // backend × pool
  metrics::CounterTable backend_connect_failures;
  metrics::CounterTable backend_connections_lost;
  metrics::CounterTable backend_goaways;
  metrics::CounterTable backend_streams_refused;
  metrics::CounterTable backend_ping_timeouts;
  metrics::CounterTable backend_retired;
  std::vector<metrics::GaugeId> backend_connections;  // backend × pool, flat
};

// Asks the control thread, from a worker's thread.
class WorkerEvents {
 public:
  virtual ~WorkerEvents() = default;
  virtual void probe_soon(std::size_t backend) = 0;
  virtual void identity_refused(std::size_t backend) = 0;
};

struct WorkerOptions {
  io::RingOptions ring;
  net::TransportOptions transport;
  backend::BackendSetOptions backends;
  proxy::ProxyOptions proxy;
  ClientOptions client;
  std::vector<io::Address> listen;
  tls::ServerOptions tls;
  std::vector<tls::ClientOptions> backend_plain;     // one per backend
  std::vector<tls::ClientOptions> backend_identity;  // empty without a front-proxy pair
  int cpu = -1;                                      // -1: not pinned
};

// Shared by all workers and outliving them.
struct WorkerParts {
  backend::Cluster& cluster;
  balance::LoadBoard& board;
  const kubernetes::IdentityFields& identity_fields;
  metrics::Registry& registry;
  const proxy::ProxyMetrics& proxy_metrics;
  const ClientMetrics& client_metrics;
  const WorkerMetrics& worker_metrics;
  observability::AccessLog* access_log;
  net::AdmissionBudget& admission;
  WorkerEvents& events;
  std::array<std::uint64_t, 2> token_key;
};

class Worker final : private proxy::ProxyEvents {
 public:
  Worker(std::size_t number, const WorkerOptions& options, const WorkerParts& parts,
         std::uint64_t seed);
  ~Worker() override;

  // Starts the thread. `started` is called from it, once, with what went wrong or nothing.
  void start(std::function<void(Result<void>)> started);

  // Any thread. Stops accepting (backlogs are emptied first), tells clients to go, ends watches
  // spread over `window`, and stops at the latest when it is over.
  void drain(Duration window);
  // Any thread. Ends at once.
  void stop();
  void join();

  std::size_t number() const { return number_; }
  bool stopped() const { return stopped_.load(std::memory_order_acquire); }
  // When this worker last turned (monotonic), for the watchdog.
  Instant last_turn() const;

 private:
  enum class State : std::uint8_t { serving, draining, stopping };

  void post(std::move_only_function<void()> message);
  void share_reactor(io::Reactor* reactor);
  void run(const std::function<void(Result<void>)>& started);
  Result<void> prepare();
  void accepted(int descriptor);
  void begin_drain(Duration window);
  void second_goaway();
  void drain_over();
  void begin_stop();
  bool all_gone() const;
  void heartbeat();
  void publish();

  void on_identity_refused(std::size_t backend) override;
  void on_drain_answer(std::size_t backend) override;

  std::size_t number_;
  WorkerOptions options_;
  WorkerParts parts_;
  std::uint64_t seed_;
  std::thread thread_;
  std::atomic<bool> stopped_{false};
  // For other threads, while the thread runs: the reactor lives and dies on its own thread.
  mutable std::mutex shared_mutex_;
  io::Reactor* shared_reactor_ = nullptr;

  State state_ = State::serving;
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<metrics::Cells> cells_;
  std::unique_ptr<net::Transport> transport_;
  http2::CodecMemory codec_memory_;
  std::unique_ptr<tls::ServerContext> server_context_;
  std::unique_ptr<backend::BackendSet> backends_;
  std::unique_ptr<proxy::Proxy> proxy_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::unordered_map<ClientConnection*, std::unique_ptr<ClientConnection>> clients_;
  std::unique_ptr<io::Timer> heartbeat_;
  std::unique_ptr<io::Timer> drain_step_;
  std::unique_ptr<io::Timer> drain_end_;
};

}  // namespace sluice::server
