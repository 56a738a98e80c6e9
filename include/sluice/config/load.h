// SPDX-License-Identifier: GPL-3.0-or-later
// From what the sources say to what is to be checked: the process, and its clusters.
#pragma once

#include <string>
#include <vector>

#include "sluice/config/environment.h"
#include "sluice/config/flags.h"
#include "sluice/config/layer.h"

namespace sluice::config {

struct LoadedCluster {
  std::string name;  // empty: the one cluster of the process's own flags
  std::string file;  // that it comes from; empty likewise
  Layer layer;       // what it shares with the others included
};

struct Loaded {
  Layer process;
  std::vector<LoadedCluster> clusters;
  std::vector<std::string> mistakes;  // of the command line and the process's file
};

// Reads the files that the command line names. What it says takes the place of what the file of
// --config says.
Loaded load(const CommandLine& line, const Environment& environment);
// A process with the one cluster that its flags describe.
Loaded load(const Layer& flags);

}  // namespace sluice::config
