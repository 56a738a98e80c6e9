// SPDX-License-Identifier: GPL-3.0-or-later
// A thread with a ring and a reactor of its own that turns one worker: pinned, fed by mailbox,
// watched from outside.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "sluice/io/reactor.h"
#include "worker.h"
#include "worker_port.h"

namespace sluice::server {

class WorkerThread final : public WorkerPort {
 public:
  // `cpu` is where it is pinned; -1: nowhere. `options` outlive it.
  WorkerThread(std::size_t number, int cpu, const WorkerThreadOptions& options,
               const WorkerParts& parts, std::uint64_t seed);
  ~WorkerThread() override;  // joins

  // Starts the thread. `started` is called from it, once, with what went wrong or nothing.
  void start(std::function<void(Result<void>)> started);
  // Waits for the end of the thread, which comes when its worker has stopped.
  void join();

  // WorkerPort
  void post(std::move_only_function<void(Worker&)> message) override;
  bool stopped() const override { return stopped_.load(std::memory_order_acquire); }
  std::optional<io::TurnState> turn() const override;

 private:
  void run(const std::function<void(Result<void>)>& started);
  void run_worker(io::Reactor& reactor, const std::function<void(Result<void>)>& started);
  void share(io::Reactor* reactor, Worker* worker);

  std::size_t number_;
  int cpu_;
  const WorkerThreadOptions& options_;
  WorkerParts parts_;
  std::uint64_t seed_;
  std::thread thread_;
  std::atomic<bool> stopped_{false};
  // For other threads: reactor and worker live and die on their own thread.
  mutable std::mutex shared_mutex_;
  io::Reactor* shared_reactor_ = nullptr;
  Worker* shared_worker_ = nullptr;
};

}  // namespace sluice::server
