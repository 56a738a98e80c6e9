// SPDX-License-Identifier: GPL-3.0-or-later
// The PEM of a private key, for as long as somebody has a use for it: its bytes are overwritten
// when it ends, and when something else takes its place. Whoever has read a key hands it on in one
// of these and ends it when contexts are made.
#pragma once

#include <string>
#include <utility>

namespace sluice::tls {

class Secret {
 public:
  Secret() = default;
  Secret(std::string text) : text_(std::move(text)) {}  // leaves nothing behind but short texts
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept { text_.swap(other.text_); }
  Secret& operator=(Secret other) noexcept {
    text_.swap(other.text_);
    return *this;
  }
  ~Secret() { wipe(); }

  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }
  void wipe();

  friend bool operator==(const Secret&, const Secret&) = default;

 private:
  std::string text_;
};

}  // namespace sluice::tls
