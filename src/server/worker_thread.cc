// SPDX-License-Identifier: GPL-3.0-or-later
// A worker's thread.
#include "worker_thread.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <string>
#include <utility>

#include "sluice/io/socket.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

void pin_this_thread(int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<std::size_t>(cpu), &cpus);
  // A container may forbid it; an unpinned worker works as well, only less evenly.
  (void)pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
}

// Whether IPv4 clients of this port have a listener of their own.
bool beside_ipv4(const io::Address& address, const std::vector<io::Address>& all) {
  return std::ranges::any_of(all, [&](const io::Address& other) {
    return other.family() == AF_INET && other.port() == address.port();
  });
}

}  // namespace

WorkerThread::WorkerThread(std::size_t number, int cpu, const WorkerThreadOptions& options,
                           const WorkerParts& parts, std::uint64_t seed)
    : number_(number), cpu_(cpu), options_(options), parts_(parts), seed_(seed) {}

WorkerThread::~WorkerThread() { join(); }

void WorkerThread::start(std::function<void(Result<void>)> started) {
  thread_ = std::thread([this, started = std::move(started)] { run(started); });
}

void WorkerThread::join() {
  if (thread_.joinable()) thread_.join();
}

std::optional<io::TurnState> WorkerThread::turn() const {
  const std::lock_guard lock(shared_mutex_);
  if (shared_reactor_ == nullptr) return std::nullopt;
  return shared_reactor_->turn_state();
}

void WorkerThread::share(io::Reactor* reactor, Worker* worker) {
  const std::lock_guard lock(shared_mutex_);
  shared_reactor_ = reactor;
  shared_worker_ = worker;
}

void WorkerThread::post(std::move_only_function<void(Worker&)> message) {
  const std::lock_guard lock(shared_mutex_);
  if (shared_reactor_ == nullptr) return;
  shared_reactor_->mailbox().post(
      [&worker = *shared_worker_, message = std::move(message)]() mutable { message(worker); });
}

void WorkerThread::run(const std::function<void(Result<void>)>& started) {
  const std::string name = "worker-" + std::to_string(number_);
  pthread_setname_np(pthread_self(), name.c_str());
  if (cpu_ >= 0) pin_this_thread(cpu_);
  if (auto reactor = io::Reactor::create(options_.ring)) {
    run_worker(**reactor, started);
  } else {
    started(std::unexpected(reactor.error()));
  }
  stopped_.store(true, std::memory_order_release);
}

void WorkerThread::run_worker(io::Reactor& reactor,
                              const std::function<void(Result<void>)>& started) {
  auto created = Worker::create(reactor, number_, options_.worker, parts_, seed_);
  if (!created) return started(std::unexpected(created.error()));
  Worker& worker = **created;
  auto listening = listen(worker);
  if (listening) {
    share(&reactor, &worker);
  } else {
    worker.stop();
  }
  started(std::move(listening));
  reactor.run_until([&] { return worker.stopped(); });
  worker.publish();
  // What is still in the mailbox never runs.
  share(nullptr, nullptr);
}

Result<void> WorkerThread::listen(Worker& worker) const {
  for (const io::Address& address : options_.listen) {
    auto descriptor = io::listen_on(address, {.v6_only = beside_ipv4(address, options_.listen)});
    if (!descriptor) return std::unexpected(descriptor.error());
    worker.listen(*descriptor);
  }
  listen_for_clusters(worker);
  return {};
}

// One that cannot be opened costs its cluster alone.
void WorkerThread::listen_for_clusters(Worker& worker) const {
  const ClusterTable& table = *parts_.shared.table;
  for (std::size_t i = 0; i < table.entries.size(); ++i) {
    const Cluster& cluster = *table.entries[i].cluster;
    const std::vector<io::Address>& own = table.entries[i].version->options().listen;
    for (const io::Address& address : own) {
      const auto descriptor = io::listen_on(address, {.v6_only = beside_ipv4(address, own)});
      if (descriptor) {
        worker.listen(*descriptor, i);
      } else {
        log::error("a cluster's address cannot be listened on",
                   {{"cluster", cluster.name()}, {"why", descriptor.error().context}});
      }
    }
  }
}

}  // namespace sluice::server
