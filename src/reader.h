// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the configuration once more while the process runs, with the command line that it was
// started by.
#pragma once

#include "sluice/config/flags.h"
#include "sluice/server/configuration.h"

namespace sluice {

// `started`: what counted for the process when it was started.
server::ReadConfiguration make_reader(config::CommandLine line, config::Config started);

}  // namespace sluice
