// SPDX-License-Identifier: GPL-3.0-or-later
// For --check: which names of API servers cannot be resolved now. No mistake, because they may be
// by the time that they are needed.
#pragma once

#include "sluice/config/validate.h"

namespace sluice {

// Waits for all answers, for discovery::dns_deadline at most. Adds warnings to the clusters.
void warn_of_unresolved_names(config::Validation& valid);

}  // namespace sluice
