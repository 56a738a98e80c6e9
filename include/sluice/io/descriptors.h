// SPDX-License-Identifier: GPL-3.0-or-later
// The process's table of descriptors.
#pragma once

#include <cstddef>

namespace sluice::io {

// Makes the table as large as the soft limit of descriptors lets it become (8 bytes each of kernel
// memory, for up to a million), and returns how many it was made for. To be called before the
// process has a second thread: whoever opens one descriptor too many makes the table twice as
// large, and where threads share it the kernel waits for an RCU grace period with that, 10 to 20 ms
// (expand_fdtable() in fs/file.c, Linux 6.18). A worker that accepts or connects would stand still
// for so long.
std::size_t reserve_descriptors();

}  // namespace sluice::io
