// SPDX-License-Identifier: GPL-3.0-or-later
// What a server asks for when its configuration is to be read again, and what it is given: how that
// is written, and where, is the business of whoever reads it.
#pragma once

#include <functional>
#include <set>
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

struct ReadRequest {
  std::vector<HeldNames> held;
  // Where no file is another than at the last time, that is all there is to say.
  bool only_if_changed = false;
};

struct Configuration {
  bool unchanged = false;         // since the last time: the rest says nothing, but for these two
  bool waits = false;             // for something that may pass by itself: to be read again soon
  std::set<std::string> folders;  // whose changes may be changes of it
  // Of the process. With one nothing is taken over, and what is below is not complete.
  std::vector<std::string> mistakes;
  std::vector<std::string> warnings;  // sentences for the log
  std::vector<std::string> notes;
  ServerOptions options;
  log::Level log_level = log::Level::info;
};

// Reads files and checks them, which takes its time. On any thread, one call at a time.
using ReadConfiguration = std::function<Configuration(const ReadRequest& request)>;

}  // namespace sluice::server
