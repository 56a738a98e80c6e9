// SPDX-License-Identifier: GPL-3.0-or-later
// What a completion means, decided in one place for every kind of operation: whether its owner
// hears of it, and whether the operation goes on, is armed again or has ended. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "sluice/base/time.h"
#include "user_data.h"

namespace sluice::io {

enum class Verdict : std::uint8_t {
  deliver,            // the owner hears of it; the kernel goes on by itself
  deliver_and_rearm,  // the owner hears of it; the kernel stopped, though nothing has ended
  deliver_last,       // the owner hears of it; the operation has ended
  rearm,              // flow control: the owner never hears of it
  starved,            // no provided buffer was free: armed again once buffers are back, in order
};

// `more`: the kernel promised further completions (IORING_CQE_F_MORE).
Verdict judge(OperationKind kind, std::int32_t result, bool more, bool cancel_requested);

// What the owner of a cancelled operation is told: the flow control that a cancellation can meet
// (kernels up to 6.4 end a cancelled receive with ENOBUFS or ENOENT) is ECANCELED to it.
std::int32_t result_after_cancel(std::int32_t result);

// The kernel did not take a submission, for want of memory: how long to wait before it is asked
// again, after so many refusals; nothing when there is no hope any more. Half a minute in all: by
// then the machine has got memory from somewhere, or somebody should restart us.
std::optional<Duration> pause_after_refusal(int refusals);

}  // namespace sluice::io
