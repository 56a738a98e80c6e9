// SPDX-License-Identifier: GPL-3.0-or-later
// What a server asks for when its configuration is to be read again, and what it is given: how that
// is written, and where, is the business of whoever reads it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sluice/observability/log.h"
#include "sluice/server/options.h"

namespace sluice::server {

// What a cluster is called that is served: another one's claim does not take it away.
struct HeldNames {
  std::string cluster;
  std::vector<std::string> server_names;
  OtherClients others = OtherClients::none;
};

struct Configuration {
  // Of the process. With one nothing is taken over, and what is below is not complete.
  std::vector<std::string> mistakes;
  std::vector<std::string> warnings;  // sentences for the log
  std::vector<std::string> notes;
  ServerOptions options;
  log::Level log_level = log::Level::info;
};

// Reads files and checks them, which takes its time. On any thread, one call at a time.
using ReadConfiguration = std::function<Configuration(const std::vector<HeldNames>& held)>;

}  // namespace sluice::server
