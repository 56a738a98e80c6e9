// SPDX-License-Identifier: GPL-3.0-or-later
// Hands each layer its own part of a validated configuration.
#pragma once

#include "sluice/config/validate.h"
#include "sluice/observability/log.h"
#include "sluice/server/server.h"

namespace sluice {

struct Composed {
  log::Options log;
  server::ServerOptions server;

  friend bool operator==(const Composed&, const Composed&) = default;
};
Composed compose(const config::Validation& valid, std::string version);

}  // namespace sluice
