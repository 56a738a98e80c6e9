// SPDX-License-Identifier: GPL-3.0-or-later
// A thread that polls the sockets of all questions.
#include "sluice/discovery/resolver.h"

#include <ares.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "dns_query.h"
#include "sluice/base/check.h"
#include "sluice/base/thread.h"

namespace sluice::discovery {
namespace {

// Where nothing else says when to look again.
constexpr Duration wait_longest = std::chrono::minutes(1);

Instant monotonic_now() {
  return Instant(
      std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

struct Waiting {
  Question question;
  Resolver::Answered answered;
};

struct Running {
  std::unique_ptr<DnsQuery> query;
  Resolver::Answered answered;
};

}  // namespace

struct Resolver::State {
  State() : wake(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { CHECK_GE(wake, 0); }
  ~State() { ::close(wake); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void wake_up() const {
    const std::uint64_t one = 1;
    (void)!::write(wake, &one, sizeof one);
  }

  // Whether to go on.
  bool take_new(std::vector<Running>& running) {
    std::vector<Waiting> taken;
    {
      const std::lock_guard lock(mutex);
      if (stopping) return false;
      const std::size_t room = std::min(at_once_max - running.size(), waiting.size());
      const auto end = waiting.begin() + static_cast<std::ptrdiff_t>(room);
      taken.assign(std::move_iterator(waiting.begin()), std::move_iterator(end));
      waiting.erase(waiting.begin(), end);
    }
    // It reads files, which nobody who asks is to wait for.
    for (Waiting& next : taken) {
      running.push_back(
          {std::make_unique<DnsQuery>(next.question, monotonic_now()), std::move(next.answered)});
    }
    return true;
  }

  void run() {
    std::vector<Running> running;
    while (take_new(running)) {
      turn(running);
      for (Running& each : running) {
        if (each.query->over()) each.answered(each.query->answer());
      }
      std::erase_if(running, [](const Running& each) { return each.query->over(); });
    }
  }

  void turn(const std::vector<Running>& running) const {
    std::vector<pollfd> sockets{{wake, POLLIN, 0}};
    Duration wait = wait_longest;
    Instant now = monotonic_now();
    for (const Running& each : running) {
      each.query->append_sockets(sockets);
      wait = std::min(wait, each.query->over() ? Duration::zero() : each.query->wait_max(now));
    }
    // One more, so as not to turn until the millisecond is over.
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(wait).count();
    (void)::poll(sockets.data(), sockets.size(),
                 static_cast<int>(milliseconds) + (wait > Duration::zero() ? 1 : 0));
    std::uint64_t woken = 0;
    (void)!::read(wake, &woken, sizeof woken);
    now = monotonic_now();
    for (const Running& each : running) each.query->drive(sockets, now);
  }

  const int wake;
  std::mutex mutex;
  std::deque<Waiting> waiting;
  bool stopping = false;
  std::thread thread;
};

Resolver::Resolver() : state_(std::make_shared<State>()) {
  const int ready = ares_library_init(ARES_LIB_INIT_ALL);
  CHECK_EQ(ready, static_cast<int>(ARES_SUCCESS));
}

Resolver::~Resolver() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake_up();
  if (state_->thread.joinable()) state_->thread.join();
  ares_library_cleanup();
}

void Resolver::ask(Question question, Answered answered) {
  std::unique_lock lock(state_->mutex);
  if (state_->stopping) return;
  if (!state_->thread.joinable()) {
    try {
      state_->thread = start_thread([state = state_] {
        pthread_setname_np(pthread_self(), "resolver");
        state->run();
      });
    } catch (const std::system_error& error) {
      lock.unlock();
      return answered(
          {std::nullopt, std::nullopt, std::string("no thread can be started: ") + error.what()});
    }
  }
  state_->waiting.push_back({std::move(question), std::move(answered)});
  state_->wake_up();
}

std::string resolver_version() { return ares_version(nullptr); }

}  // namespace sluice::discovery
