// SPDX-License-Identifier: GPL-3.0-or-later
// How body bytes are asked for, whoever carries them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::http {

enum class BodyStatus : std::uint8_t {
  more,      // bytes were produced, or none yet: the body is resumed when there are
  finished,  // the last bytes of the body were produced; its end (or trailers) follows
  cut,  // a tunnel: the last bytes were produced, and whoever has sent them left without an end
};

struct BodyResult {
  std::size_t bytes = 0;
  BodyStatus status = BodyStatus::more;
};

}  // namespace sluice::http
