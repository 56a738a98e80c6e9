// SPDX-License-Identifier: GPL-3.0-or-later
// Words over a pair of sockets.
#include "sluice/server/take_over_link.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace sluice::server {

TakeOverLink::~TakeOverLink() { ::close(descriptor_); }

bool TakeOverLink::say(std::string_view word) {
  word = word.substr(0, word_bytes_max);
  return ::send(descriptor_, word.data(), word.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(word.size());
}

std::optional<std::string> TakeOverLink::hear() {
  std::array<char, word_bytes_max> room;
  while (!gone_) {
    const ssize_t size = ::recv(descriptor_, room.data(), room.size(), MSG_DONTWAIT);
    if (size > 0) return std::string(room.data(), static_cast<std::size_t>(size));
    // ECONNRESET is said once, when the other end has left something unheard; what it has said
    // itself comes behind it (unix(7)).
    if (size < 0 && (errno == EINTR || errno == ECONNRESET)) continue;
    if (size < 0 && errno == EAGAIN) break;
    gone_ = true;
  }
  return std::nullopt;
}

}  // namespace sluice::server
