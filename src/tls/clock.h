// SPDX-License-Identifier: GPL-3.0-or-later
// The wall clock that certificates are judged by: the hook of context.h, the system's without one.
#pragma once

#include "sluice/base/time.h"

namespace sluice::tls {

WallTime wall_now();

}  // namespace sluice::tls
