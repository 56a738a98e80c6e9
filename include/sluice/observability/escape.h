// SPDX-License-Identifier: GPL-3.0-or-later
// How text that peers chose is written into lines that others parse: nothing can end a line, end a
// quoted value, or reorder what a terminal shows. Invalid UTF-8 is made visible.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::observability {

// A log value: as it is when it is one plain word, else quoted. At most `bytes_max` bytes of the
// text are kept, then "…".
void append_log_value(std::string& out, std::string_view text, std::size_t bytes_max);

// A JSON string with its quotes (RFC 8259 section 7). Invalid UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text, std::size_t bytes_max);

// A label value or help text of the Prometheus text format, without quotes.
void append_label_value(std::string& out, std::string_view text);
void append_help(std::string& out, std::string_view text);

}  // namespace sluice::observability
