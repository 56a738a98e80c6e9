// SPDX-License-Identifier: GPL-3.0-or-later
// An HTTP/1.1 connection to a simulated API server: one request, which asks to switch protocols,
// and what comes of it. The query's `sim` chooses that:
//   echo     101; each byte comes back, and behind the client's end ours (also without `sim`)
//   hello    101, "hello", our end; what the client sends is read to its end
//   sink     101; behind the client's end the number of its bytes, and ours
//   flood    101, `bytes` bytes, our end
//   stall    101, and nothing is read
//   late     as echo, after `delay` (a second)
//   never    no answer
//   rubbish  bytes that are no answer        other    101 to another protocol
//   refuse   400 with a length, chunks 403 in chunks, close 500 up to the end of the connection
//   twice    400, and behind it a second answer
//   cut      as echo, but once something has come the connection ends without a close_notify
//   reset    the same with a TCP reset       leave    no answer, the connection ends
// Its text is read by code of its own, so that a mistake of the proxy is not repeated here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/net/connection.h"

namespace sluice::apisim {

class Tunnel {
 public:
  // All outlive it.
  Tunnel(ApiServer& server, net::Connection& connection, int descriptor, std::uint64_t number,
         const PeerFacts& peer);
  ~Tunnel();
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;

  void feed(Bytes plain);
  std::size_t collect(MutableBytes batch);
  // Always goes on.
  void peer_ended();

 private:
  enum class Stage : std::uint8_t { head, delayed, tunnel, over };

  bool take_head();
  void answer();
  void refuse(int status, std::string_view fields, std::string_view body);
  void open();
  void take(std::string_view bytes);
  void half_end(bool in_order = true);
  void look_for_end();
  void timer_passed();
  std::string parameter(std::string_view name) const;

  ApiServer& server_;
  net::Connection& connection_;
  int descriptor_;
  std::uint64_t number_;
  const PeerFacts& peer_;
  Stage stage_ = Stage::head;
  std::string input_;
  std::string output_;
  std::size_t output_at_ = 0;
  std::uint64_t flood_bytes_ = 0;  // to be sent behind it
  std::uint64_t received_ = 0;     // in the tunnel
  std::optional<bool> end_;        // ours, once everything is sent: in order
  bool ended_ = false;
  bool peer_ended_ = false;
  bool closes_ = false;  // once everything is sent
  http::RequestHead head_;
  std::uint64_t record_ = 0;
  std::string sim_;
  io::Timer timer_;
};

}  // namespace sluice::apisim
