// SPDX-License-Identifier: GPL-3.0-or-later
// Puts layers over each other.
#include "sluice/config/load.h"

namespace sluice::config {

Loaded load(const Layer& flags) { return {flags, {{"", "", flags}}}; }

}  // namespace sluice::config
