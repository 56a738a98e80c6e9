// SPDX-License-Identifier: GPL-3.0-or-later
// A queue, and a thread that goes through it.
#include "helper_thread.h"

#include <pthread.h>
#include <sys/resource.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "sluice/base/thread.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

constexpr int helper_nice = 10;

}  // namespace

struct HelperThread::State {
  std::mutex mutex;
  std::condition_variable news;
  std::deque<std::move_only_function<void()>> waiting;
  bool stopping = false;
  bool busy = false;
  std::thread thread;

  // Null: it is over.
  std::move_only_function<void()> next() {
    std::unique_lock lock(mutex);
    busy = false;
    news.wait(lock, [&] { return stopping || !waiting.empty(); });
    if (stopping) return nullptr;
    busy = true;
    auto work = std::move(waiting.front());
    waiting.pop_front();
    return work;
  }
};

// Now, while there is somebody to complain to: later a limit on threads may have been reached.
HelperThread::HelperThread() : state_(std::make_shared<State>()) { start(); }

HelperThread::~HelperThread() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->waiting.clear();
  if (!state_->thread.joinable()) return;
  std::thread thread = std::move(state_->thread);
  const bool busy = state_->busy;
  lock.unlock();
  state_->news.notify_one();
  busy ? thread.detach() : thread.join();
}

void HelperThread::run(std::move_only_function<void()> work) {
  const std::lock_guard lock(state_->mutex);
  if (state_->stopping) return;
  state_->waiting.push_back(std::move(work));
  state_->news.notify_one();
  if (!state_->thread.joinable()) start();
}

void HelperThread::start() {
  try {
    // It keeps what it needs, in case that it is left behind.
    state_->thread = start_thread([state = state_] {
      pthread_setname_np(pthread_self(), "helper");
      // Workers have the CPUs first. On Linux it is the thread's own value; who may not, may not.
      (void)setpriority(PRIO_PROCESS, 0, helper_nice);
      while (auto job = state->next()) job();
    });
  } catch (const std::system_error& error) {
    log::error("no thread can be started for what may take long: it waits",
               {{"why", error.what()}});
  }
}

}  // namespace sluice::server
