// SPDX-License-Identifier: GPL-3.0-or-later
// The query parameters that decide what kind of request it is, found in one pass without decoding
// anything else. The rules are those of Go's net/url.ParseQuery, which the API server uses: pairs
// are separated by `&`; a pair with a `;` or with a bad escape does not count; the first value of a
// name counts; `+` is a space; more than 10,000 pairs are no query at all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/base/ascii.h"

namespace sluice::kubernetes {

enum class Parameter : std::uint8_t {
  watch,
  limit,
  follow,
  continue_token,
  field_selector,
  label_selector,
  timeout_seconds,
  resource_version,
  send_initial_events,
  resource_version_match,
  allow_watch_bookmarks,
  count,
};

struct ParameterValue {
  std::string_view raw;
  bool present = false;
  bool encoded = false;  // `raw` has escapes or plus signs
};

class Query {
 public:
  explicit Query(std::string_view query);

  const ParameterValue& operator[](Parameter parameter) const {
    return values_[static_cast<std::size_t>(parameter)];
  }

 private:
  struct Traits {
    bool has_semicolons;
    bool has_encoding;
  };
  void take(std::string_view pair, Traits traits);

  std::array<ParameterValue, static_cast<std::size_t>(Parameter::count)> values_;
};

// The byte that the percent escape at `text[at]` stands for, or -1 if it is none.
constexpr int percent_escape(std::string_view text, std::size_t at) {
  if (at + 2 >= text.size() || text[at] != '%') return -1;
  const int high = ascii::hex_value(text[at + 1]);
  const int low = ascii::hex_value(text[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// Whether every `%` of the text is followed by two hexadecimal digits.
bool escapes_are_whole(std::string_view text);

// Decodes percent escapes (and, for a query, plus signs) to `out`, which has room for `text.size()`
// bytes; a broken escape stays as it is. Returns the number of bytes written.
std::size_t decode_percent(std::string_view text, bool plus_is_space, char* out);

}  // namespace sluice::kubernetes
