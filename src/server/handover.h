// SPDX-License-Identifier: GPL-3.0-or-later
// What a process knows that the one that takes over from it should know, too: which bearer tokens
// have earned an answer here, as hashes, with the key that they were made with, without which every
// client would be a stranger for a while; and since when API servers have run, which not everybody
// may ask them.
//
// The other process may be of another version: the form has a number, and whatever is not exactly
// of it is refused as a whole. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/proxy/client_keys.h"
#include "sluice/proxy/last_token.h"

namespace sluice::server {

// Of one that is known to have been started then, by the clock of both processes.
struct BackendStart {
  std::string name;
  Instant started;
};

struct ClusterProofs {
  std::string cluster;                     // its name
  std::vector<proxy::TokenChange> tokens;  // all proven; those of a client last used last
  std::vector<BackendStart> backends = {};
};

struct Handover {
  proxy::HashKey key{};  // the process's
  std::vector<ClusterProofs> clusters;
};

constexpr std::size_t handover_bytes_max = std::size_t{256} << 20;

// No more than that many bytes: what does not fit is left out.
std::string write_handover(const Handover& handover, std::size_t bytes_max = handover_bytes_max);

// The error says what is wrong with it, without any of it.
Result<Handover> read_handover(std::string_view bytes);
// The same of a file.
Result<Handover> read_handover_file(int descriptor);

}  // namespace sluice::server
