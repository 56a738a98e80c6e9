// SPDX-License-Identifier: GPL-3.0-or-later
// The beginning of what gzip has compressed (RFC 1952), as far as it has come. Pure: nothing is
// kept between two looks, and zlib's own memory, 40 KB, is gone when this returns.
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace sluice::kubernetes {

// In `room`, and no more than fits there; nothing when it is not of that form.
std::optional<std::string_view> inflate_begin(std::string_view compressed, std::span<char> room);

}  // namespace sluice::kubernetes
