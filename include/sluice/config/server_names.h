// SPDX-License-Identifier: GPL-3.0-or-later
// Names by which clients call a cluster, written by an operator.
#pragma once

#include <string>
#include <string_view>

#include "sluice/base/error.h"

namespace sluice::config {

// In the form in which clients' names are compared: lower case, without a trailing dot. "*." before
// a name stands for exactly one label. The error is the remedy.
Result<std::string> parse_server_name(std::string_view text);

}  // namespace sluice::config
