// SPDX-License-Identifier: GPL-3.0-or-later
// What Content-Length says.
#include "sluice/http/told_length.h"

#include <charconv>

namespace sluice::http {

std::optional<std::uint64_t> told_length(const Fields& fields) {
  const auto field = fields.find("content-length");
  if (!field) return std::nullopt;
  std::uint64_t length = 0;
  const char* const end = field->data() + field->size();
  const auto [read, error] = std::from_chars(field->data(), end, length);
  return error == std::errc() && read == end ? length : no_length;
}

}  // namespace sluice::http
