// SPDX-License-Identifier: GPL-3.0-or-later
// One request of a world: what is asked, what happened to it on both sides, and the bytes that both
// sides know without telling each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/base/time.h"

namespace sluice::server {

struct Ask {
  enum class Kind : std::uint8_t { read, write, watch, tunnel };
  enum class Outcome : std::uint8_t {
    none,
    answered,   // to its end
    refused,    // REFUSED_STREAM, or above the last stream of a GOAWAY: not executed
    cut,        // reset by the proxy
    cancelled,  // by the client itself
    lost,       // with its connection
  };

  // The plan.
  std::size_t id = 0;
  Kind kind = Kind::read;
  std::size_t client = 0;
  std::string user;  // of the client's certificate; empty: it has a token
  Duration at{};
  std::size_t request_bytes = 0;
  std::size_t answer_bytes = 0;
  bool read_slowly = false;
  std::optional<Duration> cancelled_after;
  // Of a tunnel: how much of what goes up comes right behind the head, and who does not wait for
  // the other's end.
  std::size_t early_bytes = 0;
  bool client_may_end = false;
  bool backend_may_end = false;
  // Who ends without saying so.
  bool client_cuts = false;
  bool backend_cuts = false;

  // What the client saw.
  Outcome outcome = Outcome::none;
  int outcomes = 0;
  int heads = 0;
  int status = 0;
  bool from_backend = false;
  bool retry_after = false;
  bool another_answer = false;  // it names another request
  bool wrong_bytes = false;
  std::size_t received = 0;
  bool said_all = false;  // in a tunnel, with its end, in order

  // What backends did.
  int executed = 0;
  int expired = 0;       // a watch that was told 410 by a server that had come back
  int refusals = 0;      // by servers that ended their lives
  bool early = false;    // answered before its body was there
  std::size_t sent = 0;  // of the answer, the last time
  // Of a tunnel.
  std::size_t heard = 0;
  bool heard_end = false;  // in order
  bool at_stop = false;    // when the proxy had been told to stop

  // Bodies of both directions differ.
  std::size_t body_up() const { return kind == Kind::tunnel ? id + 1000 : id; }
  std::string path() const;
  std::string describe() const;
};

inline constexpr std::string_view tunnel_protocol = "SPDY/3.1";

std::string_view to_string(Ask::Kind kind);
std::string_view to_string(Ask::Outcome outcome);

// Byte number `position` of a body of this request.
inline std::uint8_t body_byte(std::size_t id, std::size_t position) {
  const std::size_t mixed = id * 131 + position * 7 + position / 251;
  return static_cast<std::uint8_t>(mixed);
}
std::string body_piece(std::size_t id, std::size_t begin, std::size_t bytes);
bool is_body_piece(std::size_t id, std::size_t begin, std::string_view bytes);

}  // namespace sluice::server
