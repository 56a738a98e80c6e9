// SPDX-License-Identifier: GPL-3.0-or-later
// The ring on the kernel's io_uring. One of two implementations of io/ring.h; tests link the other.
//
// Every completion names its operation by slot and generation. A turn first gathers all completions
// and then runs them, so that callbacks never recurse. An operation that the kernel stopped though
// nothing has ended (no IORING_CQE_F_MORE) is armed again here, in one place: `rearm`.
#include "sluice/io/ring.h"

#include <liburing.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <deque>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "completion_rules.h"
#include "operation_table.h"
#include "receive_buffers.h"
#include "ring_setup.h"
#include "sluice/base/check.h"
#include "user_data.h"

namespace sluice::io {
namespace {

struct Gathered {
  UserData id;
  std::int32_t result = 0;
  std::uint32_t flags = 0;
};

std::chrono::nanoseconds read_clock(clockid_t clock) {
  timespec time{};
  CHECK_EQ(::clock_gettime(clock, &time), 0);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// At the clock.
constexpr std::size_t completions_between_looks = 4;

bool receives(OperationKind kind) {
  return kind == OperationKind::receive || kind == OperationKind::receive_once;
}

Instant monotonic_now() { return Instant(read_clock(CLOCK_MONOTONIC)); }

}  // namespace

struct Ring::State {
  explicit State(const RingOptions& ring_options)
      : options(ring_options), owner(std::this_thread::get_id()) {
    read_clocks();
  }

  ~State() {
    if (!initialised) return;
    // The kernel gives the buffers up before their memory goes.
    buffers.reset();
    io_uring_queue_exit(&ring);
  }

  // --- operations --------------------------------------------------------------------------------

  OperationSlot& begin(Operation& operation, OperationKind kind, int descriptor) {
    DCHECK(owner == std::this_thread::get_id());
    CHECK(!operation.in_flight());
    return table.begin(operation, kind, descriptor, operation.slot_);
  }

  // Hands the slot's operation to the kernel, for the first time or again.
  void arm(std::uint32_t slot) {
    // The queue entry first: making room may enter the kernel.
    io_uring_sqe* entry = submission_entry();
    OperationSlot& operation = table.at(slot);
    DCHECK(!operation.armed && !operation.cancel_requested);
    switch (operation.kind) {
      case OperationKind::accept:
        io_uring_prep_multishot_accept(entry, operation.descriptor, nullptr, nullptr,
                                       SOCK_CLOEXEC | SOCK_NONBLOCK);
        break;
      case OperationKind::receive:
        // While buffers are short each takes one at a time, or a few would have them all. (For a
        // second after it: fewer find none, but bulk costs a quarter more.)
        if (options.one_shot_receive || short_of_buffers) {
          io_uring_prep_recv(entry, operation.descriptor, nullptr, buffers->buffer_bytes(), 0);
        } else {
          io_uring_prep_recv_multishot(entry, operation.descriptor, nullptr, 0, 0);
        }
        entry->flags |= IOSQE_BUFFER_SELECT;
        // Not with IORING_RECVSEND_POLL_FIRST: a multishot receive that starts with a poll takes
        // what is there once and then waits for news, and an end of stream that had come with the
        // data is none (seen on Linux 6.18 with local sockets).
        entry->buf_group = ReceiveBuffers::group;
        break;
      case OperationKind::receive_once:
        io_uring_prep_recv(entry, operation.descriptor, nullptr, buffers->buffer_bytes(), 0);
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = ReceiveBuffers::group;
        break;
      case OperationKind::send:
        // WAITALL: the kernel goes on after a short send, one completion reports all of it.
        io_uring_prep_send(entry, operation.descriptor, operation.bytes.data(),
                           operation.bytes.size(), MSG_NOSIGNAL | MSG_WAITALL);
        break;
      case OperationKind::connect:
        io_uring_prep_connect(entry, operation.descriptor, operation.address->data(),
                              operation.address->size());
        break;
      case OperationKind::poll:
        io_uring_prep_poll_multishot(entry, operation.descriptor, POLLIN);
        break;
      case OperationKind::cancel:
      case OperationKind::none: CHECK(false);
    }
    io_uring_sqe_set_data64(entry, table.id(slot).packed());
    operation.armed = true;
  }

  void cancel(Operation& operation) {
    DCHECK(owner == std::this_thread::get_id());
    if (!operation.in_flight()) return;
    const std::uint32_t slot = operation.slot_;
    OperationSlot& entry = table.at(slot);
    DCHECK(entry.operation == &operation);
    if (entry.cancel_requested) return;
    entry.cancel_requested = true;
    if (entry.armed) {
      submit_cancel(table.id(slot));
    } else {
      // Starved, or between two arms: the kernel knows nothing of it, so the end is made here.
      pending.push_back({table.id(slot), -ECANCELED, 0});
    }
  }

  void submit_cancel(UserData id) {
    io_uring_sqe* entry = submission_entry();
    io_uring_prep_cancel64(entry, id.packed(), 0);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(entry, id.as(OperationKind::cancel).packed());
  }

  // A request to cancel failed. ENOENT, EALREADY: the operation is ending by itself, or the kernel
  // was just running it (polled, found ready, not tried yet) and will poll again. In the latter
  // case no completion is on its way, so the request is made again until the operation is gone.
  void cancel_failed(UserData id) { cancel_again.push_back(id); }

  void retry_cancels() {
    std::vector<UserData> ids;
    ids.swap(cancel_again);
    for (const UserData id : ids) {
      // The answer does not carry the kind of its target.
      if (id.slot >= table.capacity()) continue;
      const UserData target = table.id(id.slot);
      if (target.generation != id.generation) continue;
      const OperationSlot& slot = table.at(id.slot);
      if (slot.operation != nullptr && slot.armed && slot.cancel_requested) submit_cancel(target);
    }
  }

  // --- queues ------------------------------------------------------------------------------------

  // A free entry of the submission queue. When it is full, what is in it is submitted; completions
  // are gathered for the next turn if the kernel has no room for them, and never run here.
  io_uring_sqe* submission_entry() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    if (entry != nullptr) [[likely]]
      return entry;
    ++counters.submission_queue_full;
    for (int failures = 0;; ++failures) {
      submit();
      entry = io_uring_get_sqe(&ring);
      if (entry != nullptr) return entry;
      gather();
      const auto pause = pause_after_refusal(failures);
      if (!pause) break;
      if (*pause > Duration::zero()) std::this_thread::sleep_for(*pause);
    }
    check_failed(__FILE__, __LINE__, "the kernel takes submissions", "it stays out of memory");
  }

  void submit() {
    ++counters.enters;
    check_entered(io_uring_submit(&ring));
  }

  // What enter may report. Everything else is a mistake of ours.
  static void check_entered(int result) {
    switch (result < 0 ? -result : 0) {
      case 0:
      case ETIME:   // the deadline
      case EINTR:   // a signal
      case EBUSY:   // completions must be gathered first
      case EAGAIN:  // no memory for requests at the moment: what was not taken stays queued
      case ENOMEM: return;
      case EBADR:
        check_failed(__FILE__, __LINE__, "no completion was dropped",
                     "the kernel had no memory for completions");
      default: check_failed(__FILE__, __LINE__, "io_uring_enter", std::to_string(result));
    }
  }

  void enter(std::optional<Instant> deadline) {
    ++counters.enters;
    // Work that the kernel knows nothing of must not wait for it.
    bool look_only = !pending.empty() || !starved.empty() || (deadline && *deadline <= monotonic);
    __kernel_timespec timeout{};
    if (deadline && !look_only) {
      // The clock has moved on since the last turn began.
      const Duration left = *deadline - monotonic_now();
      look_only = left <= Duration::zero();
      timeout.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count();
      timeout.tv_nsec = left.count() % std::nano::den;
    }
    if (look_only) return check_entered(io_uring_submit_and_get_events(&ring));
    io_uring_cqe* first = nullptr;
    check_entered(
        io_uring_submit_and_wait_timeout(&ring, &first, 1, deadline ? &timeout : nullptr, nullptr));
  }

  // Takes all completions out of the queue, so that the kernel has room again.
  void gather() {
    if (io_uring_cq_has_overflow(&ring)) ++counters.completion_overflow;
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* entry = nullptr;
    io_uring_for_each_cqe(&ring, head, entry) {
      pending.push_back({UserData::unpack(entry->user_data), entry->res, entry->flags});
      ++count;
    }
    io_uring_cq_advance(&ring, count);
    counters.completions += count;
  }

  // --- completions -------------------------------------------------------------------------------

  void run(const Gathered& gathered) {
    if (gathered.id.kind == OperationKind::cancel) return cancel_failed(gathered.id);
    OperationSlot* slot = table.find(gathered.id);
    if (slot == nullptr) return drop(gathered);

    const bool more = (gathered.flags & IORING_CQE_F_MORE) != 0;
    slot->armed = more;
    Completion completion;
    completion.result = gathered.result;
    const Verdict verdict = judge(gathered.id.kind, gathered.result, more, slot->cancel_requested);
    if (slot->cancel_requested && !more) completion.result = result_after_cancel(gathered.result);
    completion.last = verdict == Verdict::deliver_last;

    std::optional<std::uint16_t> buffer;
    if ((gathered.flags & IORING_CQE_F_BUFFER) != 0) {
      buffer = static_cast<std::uint16_t>(gathered.flags >> IORING_CQE_BUFFER_SHIFT);
      completion.bytes = buffers->take(
          *buffer, gathered.result > 0 ? static_cast<std::uint32_t>(gathered.result) : 0U);
    }
    CHECK(!receives(gathered.id.kind) || gathered.result <= 0 || buffer);

    switch (verdict) {
      case Verdict::deliver:
      case Verdict::deliver_and_rearm:
      case Verdict::deliver_last: deliver(*slot, gathered.id.slot, completion); break;
      case Verdict::rearm: break;
      case Verdict::starved:
        ++counters.receive_starved;
        starved.push_back({gathered.id, monotonic});
        break;
    }
    if (buffer) buffers->give_back(*buffer);
    if (verdict == Verdict::rearm || verdict == Verdict::deliver_and_rearm) rearm(gathered.id);
  }

  void deliver(OperationSlot& slot, std::uint32_t index, const Completion& completion) {
    Operation& operation = *slot.operation;
    DCHECK(operation.slot_ == index);
    if (completion.last) {
      // Before the callback, which may submit the operation anew.
      operation.slot_ = Operation::none;
      table.end(index);
    }
    operation.callback_(completion);
  }

  // The one place where an operation is armed again. Its owner may have cancelled it meanwhile.
  void rearm(UserData id) {
    const OperationSlot* slot = table.find(id);
    if (slot == nullptr || slot->cancel_requested) return;
    arm(id.slot);
  }

  // In the order in which they starved, as many as there are buffers: those that find nothing to
  // receive make room for the next at the following turn.
  void rearm_starved() {
    // Of what was left for this turn each has one at most.
    const std::size_t in_use = buffers->taken() + pending.size();
    std::size_t room = buffers->count() - std::min<std::size_t>(buffers->count(), in_use);
    longest_starved = {};
    short_of_buffers = !starved.empty();
    while (room > 0 && !starved.empty()) {
      const auto [id, since] = starved.front();
      starved.pop_front();
      longest_starved = std::max(longest_starved, monotonic - since);
      const OperationSlot* slot = table.find(id);
      if (slot == nullptr || slot->cancel_requested) continue;
      arm(id.slot);
      --room;
    }
  }

  // The operation has long ended; what its completion brought along is given up.
  void drop(const Gathered& gathered) {
    ++counters.stale_completions;
    if (gathered.id.kind == OperationKind::accept && gathered.result >= 0) {
      (void)::close(gathered.result);
    }
    if ((gathered.flags & IORING_CQE_F_BUFFER) != 0) {
      const auto buffer = static_cast<std::uint16_t>(gathered.flags >> IORING_CQE_BUFFER_SHIFT);
      (void)buffers->take(buffer, 0);
      buffers->give_back(buffer);
    }
  }

  void read_clocks() {
    monotonic = monotonic_now();
    wall = std::chrono::floor<std::chrono::milliseconds>(
        std::chrono::sys_time<std::chrono::nanoseconds>(read_clock(CLOCK_REALTIME_COARSE)));
  }

  // In rounds, in which each receive is served once: what brings little does not wait for what
  // brings much. The first is for all, whatever it takes; the time of the others is bounded.
  void run_all() {
    running.swap(pending);
    for (bool first = true; !running.empty(); first = false) {
      ++round;
      for (std::size_t i = 0; i < running.size(); ++i) {
        if (!first && i % completions_between_looks == 0 &&
            monotonic_now() - monotonic > options.completion_time_per_turn) {
          return leave_for_next_turn(i);
        }
        if (was_served(running[i])) {
          put_off.push_back(running[i]);
        } else {
          run(running[i]);
        }
      }
      running.clear();
      running.swap(put_off);
    }
  }

  bool was_served(const Gathered& gathered) {
    if (gathered.id.kind != OperationKind::receive) return false;
    OperationSlot* slot = table.find(gathered.id);
    return slot != nullptr && std::exchange(slot->round, round) == round;
  }

  // Each operation's completions keep their order: what this round has put off came before what it
  // did not get to, and both before what callbacks have added.
  void leave_for_next_turn(std::size_t at) {
    put_off.insert(put_off.end(), running.begin() + static_cast<std::ptrdiff_t>(at), running.end());
    put_off.insert(put_off.end(), pending.begin(), pending.end());
    pending.swap(put_off);
    put_off.clear();
    running.clear();
  }

  void turn(std::optional<Instant> deadline) {
    DCHECK(owner == std::this_thread::get_id());
    CHECK(!in_turn);
    in_turn = true;
    ++counters.turns;
    rearm_starved();
    retry_cancels();
    enter(deadline);
    gather();
    read_clocks();
    run_all();
    in_turn = false;
  }

  RingOptions options;
  std::thread::id owner;
  io_uring ring{};
  bool initialised = false;
  std::unique_ptr<ReceiveBuffers> buffers;
  OperationTable table;
  std::vector<Gathered> pending;  // gathered, to be run at the next turn
  std::vector<Gathered> running;
  std::vector<Gathered> put_off;  // to the next round
  std::uint64_t round = 0;
  bool short_of_buffers = false;  // some receives wait for one
  struct Starved {
    UserData id;
    Instant since{};
  };
  std::deque<Starved> starved;
  Duration longest_starved{};  // of those that go on in this turn
  std::vector<UserData> cancel_again;
  RingCounters counters;
  Instant monotonic{};
  std::chrono::sys_time<std::chrono::milliseconds> wall{};
  bool in_turn = false;
};

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions& options) {
  auto state = std::make_unique<State>(options);
  auto facts = set_up_ring(state->ring, options);
  if (!facts) return std::unexpected(std::move(facts.error()));
  state->initialised = true;
  auto buffers =
      ReceiveBuffers::create(state->ring, options.receive_buffers, options.receive_buffer_bytes);
  if (!buffers) return std::unexpected(std::move(buffers.error()));
  state->buffers = std::move(*buffers);
  if (auto enabled = enable_ring(state->ring, *facts); !enabled) {
    return std::unexpected(std::move(enabled.error()));
  }
  return std::unique_ptr<Ring>(new Ring(std::move(state)));
}

Ring::Ring(std::unique_ptr<State> state) : state_(std::move(state)) {}

Ring::~Ring() {
  CHECK(!state_->in_turn);
  CHECK_EQ(in_flight(), std::size_t{0});
}

void Ring::accept(Operation& operation, int listener) {
  state_->begin(operation, OperationKind::accept, listener);
  state_->arm(operation.slot_);
}

void Ring::receive(Operation& operation, int descriptor) {
  state_->begin(operation, OperationKind::receive, descriptor);
  state_->arm(operation.slot_);
}

void Ring::receive_once(Operation& operation, int descriptor) {
  state_->begin(operation, OperationKind::receive_once, descriptor);
  state_->arm(operation.slot_);
}

void Ring::send(Operation& operation, int descriptor, Bytes bytes) {
  CHECK(!bytes.empty());
  CHECK_LE(bytes.size(), std::size_t{INT32_MAX});
  state_->begin(operation, OperationKind::send, descriptor).bytes = bytes;
  state_->arm(operation.slot_);
}

void Ring::connect(Operation& operation, int descriptor, const Address& address) {
  CHECK_GT(address.size(), socklen_t{0});
  state_->begin(operation, OperationKind::connect, descriptor).address =
      std::make_unique<Address>(address);
  state_->arm(operation.slot_);
}

void Ring::poll_readable(Operation& operation, int descriptor) {
  state_->begin(operation, OperationKind::poll, descriptor);
  state_->arm(operation.slot_);
}

void Ring::cancel(Operation& operation) { state_->cancel(operation); }

void Ring::submit() { state_->submit(); }

void Ring::turn(std::optional<Instant> deadline) { state_->turn(deadline); }

Instant Ring::now() const { return state_->monotonic; }

Instant Ring::clock() const { return monotonic_now(); }
Duration Ring::thread_time() const { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
Duration Ring::starved() const { return state_->longest_starved; }
WallTime Ring::wall_now() const { return std::chrono::floor<std::chrono::seconds>(state_->wall); }
std::chrono::sys_time<std::chrono::milliseconds> Ring::wall_now_exactly() const {
  return state_->wall;
}

std::size_t Ring::in_flight() const { return state_->table.size(); }

const RingCounters& Ring::counters() const { return state_->counters; }

}  // namespace sluice::io
