// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the configuration: at the start, and again while the process runs, by the command line that
// it was started with. It keeps in mind which files it has read, and since when something in them
// is waited for: a certificate and a key that do not fit have been written one after the other, and
// only when that lasts it is a mistake.
//
// Thread: any, one at a time.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sluice/config/flags.h"
#include "sluice/config/read_files.h"
#include "sluice/config/validate.h"
#include "sluice/server/configuration.h"

namespace sluice {

class Reader {
 public:
  explicit Reader(config::CommandLine line) : line_(std::move(line)) {}

  // At the start. Waits for a while where nothing else is wrong than that certificate and key of
  // the only cluster do not fit, or, when another process serves until then (`taking_over`), those
  // of any cluster; a check does not.
  config::Validation start(bool taking_over);
  // While it runs.
  server::Configuration read(const server::ReadRequest& request);

 private:
  using Clock = std::chrono::steady_clock;

  config::Validation read_files(const std::vector<config::HeldCluster>& held);
  // Those that nothing else is wrong with: since when.
  void note_unfit(config::Validation& valid);
  bool waited_too_long() const;

  const config::CommandLine line_;
  config::Config started_;  // what counted for the process then
  config::Config now_;
  std::unique_ptr<config::ReadFiles> files_;              // of the last reading
  std::map<std::string, Clock::time_point> unfit_since_;  // by cluster
  bool waits_ = false;                                    // for some of them
  bool only_unfit_ = false;  // for the only cluster's, and nothing else is wrong
};

}  // namespace sluice
