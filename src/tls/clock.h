// SPDX-License-Identifier: GPL-3.0-or-later
// The wall clock that certificates are judged by: the hook of context.h, the system's without one.
#pragma once

#include "sluice/base/time.h"

namespace sluice::tls {

WallTime wall_now();

// While it lives, the library on this thread judges certificates at `now`.
class JudgedAt {
 public:
  explicit JudgedAt(WallTime now);
  ~JudgedAt();
  JudgedAt(const JudgedAt&) = delete;
  JudgedAt& operator=(const JudgedAt&) = delete;
};

}  // namespace sluice::tls
