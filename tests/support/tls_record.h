// SPDX-License-Identifier: GPL-3.0-or-later
// One record of given bytes.
#pragma once

#include <cstring>

#include "sluice/tls/engine.h"

namespace sluice::test {

// False: `out` has no room for a record of any size, or the engine has failed.
inline bool write_record(tls::Engine& engine, Bytes plain, tls::RecordBuffer& out) {
  const MutableBytes place = engine.begin_record(out);
  if (place.empty()) return false;
  std::memcpy(place.data(), plain.data(), plain.size());
  return engine.end_record(plain.size(), out);
}

}  // namespace sluice::test
