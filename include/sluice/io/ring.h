// SPDX-License-Identifier: GPL-3.0-or-later
// One io_uring of one thread: operations go in, completions come out in turns. This header and
// io/socket.h are the seam at which tests link a simulated ring instead of the kernel's.
//
// Thread: created, used and destroyed on one thread; nothing here is shared.
// A turn: submit and wait -> gather all completions -> run their callbacks. Callbacks may submit
// and cancel; they never run recursively. Each receive is served before any is served a second
// time, and what one brings beyond that is bounded by time: the rest comes first in the next turn,
// which does not sleep.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/io/address.h"
#include "sluice/io/operation.h"

namespace sluice::io {

struct RingOptions {
  std::uint32_t submission_entries = 512;   // power of two
  std::uint32_t completion_entries = 4096;  // several times the submission queue
  std::uint32_t receive_buffers = 256;      // power of two; provided to the kernel
  std::uint32_t receive_buffer_bytes = 16 * 1024;
  // For completions, once each receive has had one.
  Duration completion_time_per_turn = std::chrono::microseconds(400);
  // One receive operation for each piece of data instead of one for the whole connection: for
  // kernels that can lose the end of a stream on multishot receive (CVE-2026-23473).
  bool one_shot_receive = false;

  friend bool operator==(const RingOptions&, const RingOptions&) = default;
};

// Counters since creation, for metrics.
struct RingCounters {
  std::uint64_t turns = 0;
  std::uint64_t enters = 0;
  std::uint64_t completions = 0;
  std::uint64_t submission_queue_full = 0;
  std::uint64_t completion_overflow = 0;
  std::uint64_t receive_starved = 0;  // receives that found no provided buffer, and were re-armed
  std::uint64_t stale_completions = 0;
};

class Ring {
 public:
  // Fails with one clear sentence for an operator: no io_uring in this kernel, forbidden by
  // kernel.io_uring_disabled, by seccomp, or by a memory limit.
  static Result<std::unique_ptr<Ring>> create(const RingOptions& options);
  ~Ring();

  // Accepts until cancelled or an error of our side (EMFILE, ENFILE, ENOMEM); each completion
  // carries a new descriptor (blocking mode off, close-on-exec). After a completion with `last` the
  // owner decides when to accept again. Connections that failed before they were accepted are not
  // reported.
  void accept(Operation& operation, int listener);

  // Receives into provided buffers until cancelled, end of stream or an error. Running out of
  // buffers or of completion slots is handled here: the operation is re-armed and the owner never
  // sees it; it never looks like an end of stream. After cancel, data may still come, also with the
  // last completion: nothing that was received is lost.
  void receive(Operation& operation, int descriptor);

  // Receives one piece, of at most a provided buffer, or the end of stream: whoever wants to decide
  // after each piece whether to take another. Without buffers it waits, as receive() does.
  void receive_once(Operation& operation, int descriptor);

  // Sends all bytes, which stay valid and unchanged until the completion; at least one byte. The
  // kernel goes on by itself after a short send; the result is short when the operation was
  // cancelled or the connection failed on the way.
  void send(Operation& operation, int descriptor, Bytes bytes);

  // `address` is copied.
  void connect(Operation& operation, int descriptor, const Address& address);

  // Completes each time the descriptor becomes readable, until cancelled. What is not read at a
  // completion is not announced again until more arrives.
  void poll_readable(Operation& operation, int descriptor);

  // Asks the kernel to end an operation; its last completion still comes (usually -ECANCELED, or
  // what happened before). No effect when not in flight.
  void cancel(Operation& operation);

  // Hands what was begun since the last turn to the kernel now, without waiting and without running
  // callbacks: before work that takes long.
  void submit();

  // One turn. Waits until a completion or `deadline` (none: for ever; one in the past: only looks).
  // Runs the callbacks of the completions gathered.
  void turn(std::optional<Instant> deadline);

  // The monotonic time, read when the last turn began to run callbacks.
  Instant now() const;
  // The monotonic time of this very moment: for work that measures itself.
  Instant clock() const;
  // The CPU time that this thread has used. A system call.
  Duration thread_time() const;
  // How long the receives that went on in the last turn had waited for a buffer, at most.
  Duration starved() const;
  // The wall-clock time of the last turn's moment, in whole seconds and to the millisecond.
  WallTime wall_now() const;
  std::chrono::sys_time<std::chrono::milliseconds> wall_now_exactly() const;

  // Operations in flight, for assertions and metrics.
  std::size_t in_flight() const;
  const RingCounters& counters() const;

 private:
  struct State;
  explicit Ring(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sluice::io
