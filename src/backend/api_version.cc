// SPDX-License-Identifier: GPL-3.0-or-later
// Versions of servers.
#include "sluice/backend/api_version.h"

#include <array>
#include <charconv>
#include <cstddef>

namespace sluice::backend {
namespace {

// The members of one JSON object whose values are texts without escapes, as versions are; what else
// there is gets skipped. Nothing of it is kept.
class Members {
 public:
  explicit Members(std::string_view json) : rest_(json) {}

  struct Member {
    std::string_view name;
    std::string_view text;  // empty: it is something else
  };
  bool begin() { return take('{'); }
  // Nothing at the end, whether it is one or a mistake.
  std::optional<Member> next() {
    if (!first_ && !take(',')) return std::nullopt;
    first_ = false;
    const auto name = take_text();
    if (!name || !take(':')) return std::nullopt;
    if (peek() == '"') {
      const auto text = take_text();
      if (!text) return std::nullopt;
      return Member{*name, *text};
    }
    if (!skip_value()) return std::nullopt;
    return Member{*name, {}};
  }
  // Behind the last member.
  bool end() { return take('}') && peek() == '\0'; }

 private:
  char peek() {
    const std::size_t at = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at);
    return rest_.empty() ? '\0' : rest_.front();
  }
  bool take(char wanted) {
    if (peek() != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::optional<std::string_view> take_text() {
    if (!take('"')) return std::nullopt;
    std::size_t at = 0;
    while (at < rest_.size() && rest_[at] != '"') at += rest_[at] == '\\' ? 2U : 1U;
    if (at >= rest_.size()) return std::nullopt;
    const std::string_view text = rest_.substr(0, at);
    rest_.remove_prefix(at + 1);
    return text;
  }
  // A number, a word, or what brackets enclose.
  bool skip_value() {
    std::size_t depth = 0;
    for (char c = peek(); c != '\0'; c = peek()) {
      if (c == '"') {
        if (!take_text()) return false;
        if (depth == 0) return true;
        continue;
      }
      if (depth == 0 && (c == ',' || c == '}')) return true;
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') {
        if (depth == 0) return false;
        --depth;
      }
      rest_.remove_prefix(1);
    }
    return false;
  }

  std::string_view rest_;
  bool first_ = true;
};

// "37", and "37+" of vendors.
std::optional<std::uint16_t> leading_number(std::string_view text) {
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

std::optional<ApiVersion> version_of(std::string_view major, std::string_view minor) {
  const auto first = leading_number(major);
  const auto second = leading_number(minor);
  if (!first || !second || *first == 0) return std::nullopt;
  return ApiVersion{*first, *second};
}

}  // namespace

std::string ApiVersion::to_string() const {
  return std::to_string(major) + '.' + std::to_string(minor);
}

std::optional<ApiVersion> read_api_version(std::string_view json) {
  Members members(json);
  if (!members.begin()) return std::nullopt;
  std::string_view major;
  std::string_view minor;
  std::string_view emulated_major;
  std::string_view emulated_minor;
  while (const auto member = members.next()) {
    if (member->name == "major") major = member->text;
    if (member->name == "minor") minor = member->text;
    if (member->name == "emulationMajor") emulated_major = member->text;
    if (member->name == "emulationMinor") emulated_minor = member->text;
  }
  if (!members.end()) return std::nullopt;
  if (const auto emulated = version_of(emulated_major, emulated_minor)) return emulated;
  return version_of(major, minor);
}

}  // namespace sluice::backend
