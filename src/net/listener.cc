// SPDX-License-Identifier: GPL-3.0-or-later
// Accepting with admission.
#include "sluice/net/listener.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"

namespace sluice::net {
namespace {
// How often a paused listener looks whether it may accept again.
constexpr Duration admission_retry = std::chrono::milliseconds(50);
constexpr Duration descriptor_retry = std::chrono::milliseconds(200);
// A whole backlog (io::ListenOptions) may arrive before a multishot accept can be stopped.
constexpr std::size_t multishot_room = 4096;
// What a worker takes at once of a backlog that is not its own alone.
constexpr std::size_t shared_batch = 8;
}  // namespace

Listener::Listener(Transport& transport, int descriptor, AdmissionBudget& budget, Accepted accepted,
                   bool shared)
    : transport_(transport),
      descriptor_(descriptor),
      budget_(budget),
      accepted_(std::move(accepted)),
      accept_(io::Operation::bind<&Listener::accepted>(this)),
      knock_(io::Operation::bind<&Listener::knocked>(this)),
      retry_(io::Timer::bind<&Listener::retry>(this)),
      more_(io::TurnEnd::bind<&Listener::accept_more>(this)),
      shared_(shared) {}

Listener::~Listener() { CHECK(stopped()); }

void Listener::start() {
  CHECK(descriptor_ >= 0);
  io::Ring& ring = transport_.reactor().ring();
  if (!shared_ && budget_.room() > multishot_room) return ring.accept(accept_, descriptor_);
  // Armed first: what arrives while the backlog is emptied is announced.
  ring.poll_readable(knock_, descriptor_);
  accept_some();
}

void Listener::admit(int descriptor) {
  budget_.connections.fetch_add(1, std::memory_order_relaxed);
  ++counters_.accepted;
  accepted_(descriptor);
}

void Listener::accept_some() {
  for (std::size_t taken = 0; may_accept(); ++taken) {
    if (shared_ && taken == shared_batch) {
      return transport_.reactor().at_turn_end(more_, io::Reactor::Phase::reap);
    }
    const int descriptor = io::accept_now(descriptor_);
    if (descriptor >= 0) {
      admit(descriptor);
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;  // the backlog is empty
    if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO) continue;
    fail();
    break;
  }
  if (!retry_.armed()) pause(admission_retry);
  transport_.reactor().ring().cancel(knock_);
}

// Behind the handshakes of those that were taken.
void Listener::accept_more() {
  if (!stopping_ && !retry_.armed()) accept_some();
}

void Listener::knocked(const io::Completion& completion) {
  if (stopping_) {
    if (completion.last && !accept_.in_flight()) finish_stop();
    return;
  }
  if (completion.result >= 0) accept_some();
  if (!completion.last || retry_.armed()) return;
  // Ended by own(), or by the kernel.
  completion.result == -ECANCELED ? start() : pause(admission_retry);
}

void Listener::accepted(const io::Completion& completion) {
  if (completion.result >= 0) admit(completion.result);
  if (stopping_) {
    if (completion.last && !knock_.in_flight()) finish_stop();
    return;
  }
  if (!completion.last) {
    if (!may_accept() || budget_.room() <= multishot_room)
      transport_.reactor().ring().cancel(accept_);
    return;
  }
  // The accept has ended: cancelled by admission, or the kernel ran out of something.
  if (completion.result < 0 && completion.result != -ECANCELED) return fail();
  if (!may_accept()) return pause(admission_retry);
  start();
}

// The kernel ran out of something, most likely of descriptors.
void Listener::fail() {
  ++counters_.accept_errors;
  budget_.starved.store(true, std::memory_order_relaxed);
  pause(descriptor_retry);
}

// A place that becomes free is given away at the next look: nobody waits for more than one.
void Listener::pause(Duration retry) {
  ++counters_.paused;
  io::Reactor& reactor = transport_.reactor();
  reactor.timers().set(retry_, reactor.now(), retry);
}

void Listener::retry() {
  if (stopping_ || descriptor_ < 0 || accept_.in_flight()) return;
  if (knock_.in_flight()) return pause(admission_retry);
  io::Reactor& reactor = transport_.reactor();
  if (may_accept()) return start();
  reactor.timers().set(retry_, reactor.now(), admission_retry);
}

void Listener::stop() {
  if (stopping_ || descriptor_ < 0) return;
  stopping_ = true;
  retry_.cancel();
  if (!accept_.in_flight() && !knock_.in_flight()) return finish_stop();
  transport_.reactor().ring().cancel(accept_);
  transport_.reactor().ring().cancel(knock_);
}

void Listener::leave() {
  leaving_ = true;
  stop();
}

void Listener::own() {
  if (!std::exchange(shared_, false) || stopping_) return;
  transport_.reactor().ring().cancel(knock_);
}

void Listener::finish_stop() {
  while (!leaving_ && may_accept()) {
    const int descriptor = io::accept_now(descriptor_);
    if (descriptor < 0) break;
    admit(descriptor);
  }
  io::close_socket(descriptor_);
  descriptor_ = -1;
}

}  // namespace sluice::net
