// SPDX-License-Identifier: GPL-3.0-or-later
// Creates the kernel's ring with the best set of flags that this kernel takes, restricts it to the
// operations that we use, and turns a refusal into one sentence for an operator.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <optional>
#include <string>

#include "sluice/base/error.h"
#include "sluice/io/ring.h"

namespace sluice::io {

struct RingFacts {
  bool deferred = false;    // completions run only when we enter (Linux 6.1)
  bool restricted = false;  // other operations than ours are refused by the kernel
};

// An initialised, not yet enabled ring: buffers may be registered, then enable_ring. On error
// nothing is left.
Result<RingFacts> set_up_ring(io_uring& ring, const RingOptions& options);

// From here on the calling thread is the ring's only one, and nothing else can be registered.
Result<> enable_ring(io_uring& ring, RingFacts& facts);

// What the machine says about io_uring, for the sentence about a refusal.
struct SetupEnvironment {
  std::optional<int> io_uring_disabled;       // sysctl kernel.io_uring_disabled
  std::optional<std::int64_t> allowed_group;  // sysctl kernel.io_uring_group; -1: none
  std::optional<std::uint64_t> locked_bytes;  // RLIMIT_MEMLOCK; none: unlimited

  static SetupEnvironment read();
};

std::string explain_setup_failure(int error_number, const SetupEnvironment& environment);

}  // namespace sluice::io
