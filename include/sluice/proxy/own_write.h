// SPDX-License-Identifier: GPL-3.0-or-later
// A client has written what API servers act by (kubernetes::changes_servers). Its next connection
// may be another worker's, so the others are told.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::proxy {

struct OwnWrite {
  std::uint64_t client = 0;  // an identity at an address
  std::size_t backend = 0;   // where it was acknowledged
};

}  // namespace sluice::proxy
