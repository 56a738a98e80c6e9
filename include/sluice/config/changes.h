// SPDX-License-Identifier: GPL-3.0-or-later
// What a change of the configuration cannot change before the next start or take-over.
#pragma once

#include <string>
#include <vector>

#include "sluice/config/config.h"

namespace sluice::config {

// A sentence for each flag that is another one now than at the start, and cannot be taken over.
std::vector<std::string> fixed_changes(const Config& started, const Config& now);

}  // namespace sluice::config
