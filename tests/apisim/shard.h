// SPDX-License-Identifier: GPL-3.0-or-later
// A thread with a reactor and some of the simulated servers.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server.h"
#include "sluice/io/reactor.h"
#include "sluice/net/transport.h"
#include "sluice/tls/context.h"

namespace sluice::apisim {

struct ServerPlan {
  std::size_t index = 0;
  int descriptor = -1;
  io::Address address;
  Settings settings;
};

class Shard {
 public:
  // `plans`: the servers that live here. Reports by `started` once, from its thread.
  Shard(Shared& shared, const tls::ServerOptions& tls, std::vector<ServerPlan> plans);
  ~Shard();

  // Waits until the servers accept; the error is one sentence.
  Result<void> started();
  // Runs `work` on the shard's thread, waits for its answer.
  std::string call(std::function<std::string(Shard&)> work);
  // Any thread: there are new events.
  void wake_watches();
  // Simulated events, produced by this shard.
  void set_event_rate(double per_second);
  void stop();

  // On the shard's thread.
  ApiServer* find(std::size_t index);

 private:
  // Any thread; false when the shard has ended.
  bool post(io::Mailbox::Message message);
  void run(std::promise<Result<void>> started);
  Result<void> start();
  void produce_events();
  void join();

  Shared& shared_;
  tls::ServerOptions tls_options_;
  std::vector<ServerPlan> plans_;
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<net::Transport> transport_;
  std::shared_ptr<const tls::ServerContext> tls_;
  BenchTexts bench_;
  std::vector<std::pair<std::size_t, std::unique_ptr<ApiServer>>> servers_;
  std::unique_ptr<io::Timer> event_timer_;
  double event_rate_ = 0;
  double events_due_ = 0;
  bool stopping_ = false;
  std::mutex ended_mutex_;
  bool ended_ = true;  // the mailbox may not be used
  std::atomic<bool> wake_posted_{false};
  std::future<Result<void>> started_;
  std::thread thread_;
};

}  // namespace sluice::apisim
