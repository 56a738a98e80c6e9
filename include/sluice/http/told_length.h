// SPDX-License-Identifier: GPL-3.0-or-later
// How long a body is said to be (RFC 9110 section 8.6).
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "sluice/http/fields.h"

namespace sluice::http {

// What Content-Length says when it is not a number: longer than anything.
inline constexpr std::uint64_t no_length = std::numeric_limits<std::uint64_t>::max();

// In bytes; nothing where there is no such field.
std::optional<std::uint64_t> told_length(const Fields& fields);

}  // namespace sluice::http
