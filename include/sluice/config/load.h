// SPDX-License-Identifier: GPL-3.0-or-later
// From what the sources say to what is to be checked: the process, and its clusters.
#pragma once

#include <string>
#include <vector>

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
};

// A process with the one cluster that its flags describe.
Loaded load(const Layer& flags);

}  // namespace sluice::config
