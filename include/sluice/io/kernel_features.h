// SPDX-License-Identifier: GPL-3.0-or-later
// What this kernel can do, found out at start-up by trying it, never from a version number.
#pragma once

#include <string>
#include <vector>

#include "sluice/base/error.h"

namespace sluice::io {

struct KernelFeatures {
  // A peer that sends and shuts down at once: was the end of its stream seen by a multishot
  // receive? (CVE-2026-23473). When not, one-shot receive must be used.
  bool multishot_receive_sees_end_of_stream = true;
  std::string release;                // uname -r, for the log
  std::vector<std::string> warnings;  // sentences for the operator
};

// Creates and drops small rings. The error says in one sentence what is missing and the remedy.
Result<KernelFeatures> probe_kernel_features();

// The version of the ring library that is linked in.
std::string library_version();

}  // namespace sluice::io
