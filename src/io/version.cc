// SPDX-License-Identifier: GPL-3.0-or-later
// The version of the ring library that is linked in.
#include <liburing.h>

#include "sluice/io/kernel_features.h"

namespace sluice::io {

std::string library_version() {
  return std::to_string(IO_URING_VERSION_MAJOR) + "." + std::to_string(IO_URING_VERSION_MINOR);
}

}  // namespace sluice::io
