// SPDX-License-Identifier: GPL-3.0-or-later
// What a process and the one that takes over from it say to each other: short words, in order, each
// whole, over a pair of sockets. That one of them is gone is seen there, too.
//
//   new: ready (or refused: WHY)      it could serve, and accepts nobody yet
//   old: go                           accept; the service manager knows whom to watch
//   new: serving                      the old one drains
//   old: again                        a further take-over is wanted, once the old one is gone
//   old: reload                       so is another look at the configuration
//
// Thread: one. Nothing waits.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::server {

class TakeOverLink {
 public:
  static constexpr std::size_t word_bytes_max = 1024;
  static constexpr std::string_view ready = "ready";
  static constexpr std::string_view refused = "refused: ";  // and why
  static constexpr std::string_view go = "go";
  static constexpr std::string_view serving = "serving";
  static constexpr std::string_view again = "again";
  static constexpr std::string_view reload = "reload";

  // Takes over one end of a pair of AF_UNIX, SOCK_SEQPACKET.
  explicit TakeOverLink(int descriptor) : descriptor_(descriptor) {}
  ~TakeOverLink();
  TakeOverLink(const TakeOverLink&) = delete;
  TakeOverLink& operator=(const TakeOverLink&) = delete;

  // What is too long is cut. False: it was not sent.
  bool say(std::string_view word);
  bool refuse(std::string_view why) { return say(std::string(refused).append(why)); }
  // The next word, if one has come.
  std::optional<std::string> hear();
  // The other end is gone, and all that it has said was heard.
  bool gone() const { return gone_; }

 private:
  int descriptor_;
  bool gone_ = false;
};

}  // namespace sluice::server
