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
  std::string name;                   // empty: the one cluster of the process's own flags
  std::string file;                   // that it comes from; empty likewise
  Layer layer;                        // what it shares with the others included
  std::vector<std::string> mistakes;  // of its file
  bool readable = true;
  bool names_known = true;  // false: lines that cannot be read may hold names of it
};

struct Loaded {
  Layer process;
  std::vector<LoadedCluster> clusters;
  // Of the command line, the process's file and the folder of clusters.
  std::vector<std::string> mistakes;
};

// Reads the files that the command line names, and those of clusters. The command line takes the
// place of the process's file; a cluster's file that of both.
Loaded load(const CommandLine& line, const Environment& environment);
// A process with the one cluster that its flags describe.
Loaded load(const Layer& flags);

}  // namespace sluice::config
