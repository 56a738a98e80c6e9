// SPDX-License-Identifier: GPL-3.0-or-later
// Hands each layer its own part of a validated configuration.
#pragma once

#include "sluice/config/validate.h"
#include "sluice/server/server.h"

namespace sluice {

server::ServerOptions compose(const config::Validation& valid, std::string version);

}  // namespace sluice
