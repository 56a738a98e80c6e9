// SPDX-License-Identifier: GPL-3.0-or-later
// Our side of a connection to a backend that is there for one request, which asks to switch
// protocols: without a socket and without a clock. feed() plain bytes, collect() plain bytes.
//
//   output:  request ──▶ held ──101──▶ tunnel ──▶ ended
//   input:   answer ──┬──101──▶ tunnel ──▶ ended
//                     └─other─▶ body ──▶ ended
//
// `held`: all of the request was collected, and nothing goes out before a 101. Each direction of a
// tunnel ends on its own. Any other answer is read to its end, and with it everything ends: what
// somebody said early, hoping for a tunnel, never reaches the backend.
//
// Not thread-safe. May be destroyed only outside of its own callbacks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/http/body.h"
#include "sluice/http/message.h"

namespace sluice::http1 {

// Events, called from feed(), peer_ended() and collect(). All may call the upgrade's methods.
class UpgradeHandler {
 public:
  virtual ~UpgradeHandler() = default;
  virtual void on_interim(http::ResponseHead&& head) = 0;
  // Of 101: the tunnel is open. `end`: there is no body.
  virtual void on_answer(http::ResponseHead&& head, bool end) = 0;
  // Of the answer's body, or of the tunnel.
  virtual void on_data(Bytes bytes) = 0;
  // The last of it has come: of an answer, or of this direction of a tunnel. `in_order`: whoever
  // sent it has said so.
  virtual void on_end(bool in_order) = 0;
  // Bytes of the request's body are wanted, to its end, and then, in a tunnel, bytes of that.
  virtual http::BodyResult on_body_wanted(MutableBytes room) = 0;
};

struct UpgradeOptions {
  // Heads of answers; the bytes as they come, and as RFC 9113 section 6.5.2 counts.
  std::size_t header_fields_max = 8192;
  std::size_t header_list_bytes_max = 1024 * 1024;

  friend bool operator==(const UpgradeOptions&, const UpgradeOptions&) = default;
};

class Upgrade {
 public:
  enum class Output : std::uint8_t { request, held, tunnel, ended };
  enum class Input : std::uint8_t { answer, body, tunnel, ended };

  // `handler` outlives it.
  Upgrade(UpgradeHandler& handler, const UpgradeOptions& options);
  ~Upgrade();
  Upgrade(const Upgrade&) = delete;
  Upgrade& operator=(const Upgrade&) = delete;

  // Once, before anything else. False when the head cannot be written as a request that everybody
  // reads in the same way.
  bool begin(const http::RequestHead& head, bool has_body);

  // Plain bytes from the backend; all are taken. An error: it broke a rule (`limit`: a bound of
  // ours), and nothing more is to be said to it.
  Result<void> feed(Bytes plain);
  // The backend says nothing any more. `in_order`: by a close_notify. An error: it owes something.
  Result<void> peer_ended(bool in_order);

  // Fills `batch`; returns the bytes written, 0 when there is nothing to send now.
  std::size_t collect(MutableBytes batch);
  bool wants_output() const;
  // The handler may have bytes again.
  void resume_body();
  // Whether any byte of the request was collected.
  bool written() const;

  Output output() const;
  Input input() const;
  // Of a tunnel's output that has ended: whether the client has said so.
  bool ended_in_order() const;
  // Nothing is left to be said or heard: the connection is of no more use.
  bool over() const;
  std::size_t held_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string_view to_string(Upgrade::Output output);
std::string_view to_string(Upgrade::Input input);

}  // namespace sluice::http1
