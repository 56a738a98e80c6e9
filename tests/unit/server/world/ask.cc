// SPDX-License-Identifier: GPL-3.0-or-later
// One request of a world.
#include "ask.h"

#include <fmt/format.h>

namespace sluice::server {

std::string_view to_string(Ask::Kind kind) {
  switch (kind) {
    case Ask::Kind::read: return "read";
    case Ask::Kind::write: return "write";
    case Ask::Kind::watch: return "watch";
    case Ask::Kind::tunnel: return "tunnel";
  }
  return "unknown";
}

std::string_view to_string(Ask::Outcome outcome) {
  switch (outcome) {
    case Ask::Outcome::none: return "none";
    case Ask::Outcome::answered: return "answered";
    case Ask::Outcome::refused: return "refused";
    case Ask::Outcome::cut: return "cut";
    case Ask::Outcome::cancelled: return "cancelled";
    case Ask::Outcome::lost: return "lost";
  }
  return "unknown";
}

std::string Ask::path() const {
  switch (kind) {
    case Kind::read: return fmt::format("/api/v1/namespaces/n/configmaps/c{}", id);
    case Kind::write: return "/api/v1/namespaces/n/configmaps";
    case Kind::watch:
      return "/api/v1/namespaces/n/pods?watch=1&resourceVersion=5&allowWatchBookmarks=true&"
             "timeoutSeconds=300";
    case Kind::tunnel: return fmt::format("/api/v1/namespaces/n/pods/p{}/exec?command=c", id);
  }
  return "/";
}

std::string Ask::describe() const {
  return fmt::format(
      "{} {} of client {} at {} ms, {} bytes up, {} down{}{}: {} ({} times), {} heads, status "
      "{}{}, "
      "{} bytes received, executed {} times, refused {} times, expired {} times, {} bytes "
      "answered, "
      "{} bytes heard{}",
      to_string(kind), id, client, at / std::chrono::milliseconds(1), request_bytes, answer_bytes,
      read_slowly ? ", read slowly" : "", cancelled_after ? ", to be cancelled" : "",
      to_string(outcome), outcomes, heads, status, from_backend ? " of a backend" : "", received,
      executed, refusals, expired, sent, heard, heard_end ? " and the end" : "");
}

std::string body_piece(std::size_t id, std::size_t begin, std::size_t bytes) {
  std::string piece(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) piece[i] = static_cast<char>(body_byte(id, begin + i));
  return piece;
}

bool is_body_piece(std::size_t id, std::size_t begin, std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (static_cast<std::uint8_t>(bytes[i]) != body_byte(id, begin + i)) return false;
  }
  return true;
}

}  // namespace sluice::server
