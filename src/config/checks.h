// SPDX-License-Identifier: GPL-3.0-or-later
// The checks by subject. Each adds its sentences to the result and fills in what it has found out;
// none stops at another's mistake.
#pragma once

#include "sluice/config/validate.h"

namespace sluice::config {

void check_listeners(const Environment& environment, Validation& result);
void check_networks(Validation& result);
void check_backends(Validation& result);
void check_limits(const Environment& environment, Validation& result);
void check_timeouts(Validation& result);
void check_identity_headers(Validation& result);
// Needs what check_backends found.
void check_files(const Environment& environment, Validation& result);

}  // namespace sluice::config
