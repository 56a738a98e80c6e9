// SPDX-License-Identifier: GPL-3.0-or-later
// Prints a failed assertion and aborts.
#include "sluice/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace sluice {

void check_failed(const char* file, int line, const char* condition, const std::string& values) {
  std::fprintf(stderr, "sluice: %s:%d: check failed: %s%s%s%s\n", file, line, condition,
               values.empty() ? "" : " (", values.c_str(), values.empty() ? "" : ")");
  std::fflush(stderr);
  std::abort();
}

}  // namespace sluice
