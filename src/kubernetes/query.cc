// SPDX-License-Identifier: GPL-3.0-or-later
// The query parameters of Kubernetes list, watch and log requests.
#include "query.h"

#include <algorithm>

namespace sluice::kubernetes {
namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(Parameter::count)> names = {
    "watch",
    "limit",
    "follow",
    "continue",
    "fieldSelector",
    "labelSelector",
    "timeoutSeconds",
    "resourceVersion",
    "sendInitialEvents",
    "resourceVersionMatch",
    "allowWatchBookmarks"};

constexpr std::size_t name_bytes_max = 20;
constexpr std::size_t pairs_max = 10'000;  // Go's urlmaxqueryparams

// Bit n is set if some name has n bytes: most other parameters are told apart by that alone.
constexpr std::uint32_t name_sizes = [] {
  std::uint32_t sizes = 0;
  for (const std::string_view name : names) sizes |= 1U << name.size();
  return sizes;
}();
static_assert(name_sizes >> (name_bytes_max + 1) == 0);

Parameter find_parameter(std::string_view name) {
  if (name.size() > name_bytes_max || (name_sizes >> name.size() & 1) == 0) return Parameter::count;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (name == names[i]) return static_cast<Parameter>(i);
  }
  return Parameter::count;
}

bool contains(std::string_view text, char c) { return text.find(c) != std::string_view::npos; }
bool is_encoded(std::string_view text) { return contains(text, '%') || contains(text, '+'); }

}  // namespace

bool escapes_are_whole(std::string_view text) {
  for (std::size_t at = text.find('%'); at != std::string_view::npos; at = text.find('%', at + 3)) {
    if (percent_escape(text, at) < 0) return false;
  }
  return true;
}

std::size_t decode_percent(std::string_view text, bool plus_is_space, char* out) {
  char* end = out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const int escaped = percent_escape(text, at);
    if (escaped >= 0) {
      *end++ = static_cast<char>(escaped);
      at += 2;
    } else {
      *end++ = plus_is_space && text[at] == '+' ? ' ' : text[at];
    }
  }
  return static_cast<std::size_t>(end - out);
}

Query::Query(std::string_view query) {
  if (query.empty()) return;
  if (query.size() >= pairs_max &&
      static_cast<std::size_t>(std::count(query.begin(), query.end(), '&')) + 1 > pairs_max) {
    return;
  }
  // Most queries have neither: then no pair needs to be looked at for them.
  const Traits traits{contains(query, ';'), is_encoded(query)};
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    take(query.substr(0, end), traits);
    if (end == std::string_view::npos) break;
    query.remove_prefix(end + 1);
  }
}

void Query::take(std::string_view pair, Traits traits) {
  if (traits.has_semicolons && contains(pair, ';')) return;
  const std::size_t equals = pair.find('=');
  std::string_view name = pair.substr(0, equals);
  const std::string_view value =
      equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);

  std::array<char, 3 * name_bytes_max> decoded;
  if (traits.has_encoding && is_encoded(name)) {
    if (name.size() > decoded.size() || !escapes_are_whole(name)) return;
    name = {decoded.data(), decode_percent(name, true, decoded.data())};
  }
  const Parameter parameter = find_parameter(name);
  if (parameter == Parameter::count) return;
  ParameterValue& entry = values_[static_cast<std::size_t>(parameter)];
  if (entry.present) return;
  const bool encoded = traits.has_encoding && is_encoded(value);
  if (encoded && !escapes_are_whole(value)) return;
  entry = {value, true, encoded};
}

}  // namespace sluice::kubernetes
