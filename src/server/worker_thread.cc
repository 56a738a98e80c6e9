// SPDX-License-Identifier: GPL-3.0-or-later
// A worker's thread.
#include "worker_thread.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <string>
#include <system_error>
#include <utility>

namespace sluice::server {
namespace {

void pin_this_thread(int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<std::size_t>(cpu), &cpus);
  // A container may forbid it; an unpinned worker works as well, only less evenly.
  (void)pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
}

}  // namespace

WorkerThread::WorkerThread(std::size_t number, int cpu, const WorkerThreadOptions& options,
                           const WorkerParts& parts, std::uint64_t seed)
    : number_(number), cpu_(cpu), options_(options), parts_(parts), seed_(seed) {}

WorkerThread::~WorkerThread() { join(); }

void WorkerThread::start(std::function<void(Result<void>)> started) {
  try {
    thread_ = std::thread([this, started] { run(started); });
  } catch (const std::system_error& error) {
    started(
        fail(ErrorKind::system, fmt::format("worker {} has no thread: {}", number_, error.what())));
  }
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
  share(&reactor, &worker);
  started({});
  reactor.run_until([&] { return worker.stopped(); });
  worker.publish();
  // What is still in the mailbox never runs.
  share(nullptr, nullptr);
}

}  // namespace sluice::server
