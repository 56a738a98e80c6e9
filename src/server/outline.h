// SPDX-License-Identifier: GPL-3.0-or-later
// Lines for people, up to a size: what has no room any more is left out, and that is said.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::server {

class Outline {
 public:
  explicit Outline(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // `depth`: of what it is a part. The line has no line break.
  void add(std::size_t depth, std::string_view line) {
    full_ = full_ || text_.size() + 2 * depth + line.size() + 1 + rest_.size() > bytes_max_;
    if (full_) return;
    text_.append(2 * depth, ' ');
    text_ += line;
    text_ += '\n';
  }
  // Once something was left out, all that follows is.
  bool full() const { return full_; }

  std::string text() const { return full_ ? text_ + std::string(rest_) : text_; }

 private:
  static constexpr std::string_view rest_ = "(there is more)\n";
  std::size_t bytes_max_;
  std::string text_;
  bool full_ = false;
};

}  // namespace sluice::server
