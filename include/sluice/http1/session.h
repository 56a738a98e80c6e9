// SPDX-License-Identifier: GPL-3.0-or-later
// One client's HTTP/1.1 connection (RFC 9112) without a socket and without a clock: feed() plain
// bytes, collect() plain bytes, events for one request at a time. The next one begins when the
// answer to the last is completely collected, so that nothing overtakes what came before it.
//
// A request that asks to switch protocols is the last one of its connection. What comes behind it
// is held until it is answered: with 101 it is the beginning of a tunnel, in which bytes of any
// kind go both ways under the same flow control, and each direction ends on its own. With any other
// answer it is dropped unread.
//
// What two readers could understand differently is refused (refusal.h): the request is answered,
// nothing behind it is read, and the connection ends.
//
// Flow control: so many bytes of a body are handed over as its window says; consume() gives back
// what has left for the other side. All bytes that are fed are taken, because whoever decrypts them
// cannot give them back: what lies behind the window or the current request is held, and
// wants_input() turns false as soon as that is more than a record, so that the connection stops
// receiving and the peer's own TCP window bounds it. Below that the connection goes on receiving,
// or it would not notice that a client is gone.
//
// Not thread-safe. The session may be destroyed only outside of its own callbacks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/http/body.h"
#include "sluice/http/message.h"
#include "sluice/http1/refusal.h"

namespace sluice::http1 {

// Counts the requests of a connection from 1. One that is over is answered with "no such request".
using RequestId = std::int64_t;

struct SessionOptions {
  // Heads that are received; the bytes as they come, and as RFC 9113 section 6.5.2 counts.
  std::size_t header_fields_max = 4096;
  std::size_t header_list_bytes_max = 256 * 1024;
  std::uint32_t window_bytes = 64 * 1024;  // of a request's body, at first

  friend bool operator==(const SessionOptions&, const SessionOptions&) = default;
};

struct Request {
  RequestId id = 0;
  bool end_of_stream = false;  // there is no body
};

// Events, called from feed() and collect(). None may destroy the session; all may call its methods.
class SessionHandler {
 public:
  virtual ~SessionHandler() = default;

  // A complete head, without Host, which became its authority (empty: HTTP/1.0 without one).
  virtual void on_request(const Request& request, http::RequestHead&& head) = 0;
  // A head that broke a limit; `head` has what was read of it. To be answered with 431.
  virtual void on_head_too_large(RequestId id, http::RequestHead&& head) = 0;
  // The request breaks a rule. Either its head (`head` has what was read of it; the first event of
  // the request), or, with an empty `head`, its body: to be answered if it is not answered yet.
  virtual void on_malformed(RequestId id, http::RequestHead&& head, Refusal why) = 0;
  virtual void on_data(RequestId id, Bytes bytes) = 0;
  // Of the body, once, after the last on_data. Its trailers were checked and dropped.
  virtual void on_end_of_stream(RequestId id) = 0;
  // The client ends its direction of a tunnel, after the last on_data. `in_order`: it has said so.
  virtual void on_tunnel_ended(RequestId id, bool in_order) = 0;
  // The request is over, its last event. `whole`: its answer was collected to its end.
  virtual void on_closed(RequestId id, bool whole) = 0;
  // Bytes of the answer's body, or of the tunnel, are wanted: write up to `room.size()` bytes into
  // `room`.
  virtual http::BodyResult on_body_wanted(RequestId id, MutableBytes room) = 0;
};

class Session {
 public:
  // `handler` outlives the session.
  Session(SessionHandler& handler, const SessionOptions& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Plain bytes from the client; all are taken. With none: goes on with what is held.
  void feed(Bytes plain);
  // Whether there should be more input now.
  bool wants_input() const;
  // The client sends nothing more; `in_order`: it has said so. False when that leaves nothing to be
  // done: only a tunnel goes on.
  bool peer_ended(bool in_order);
  // Whether feed() with no bytes would get on with what is held.
  bool can_go_on() const;

  // Fills `batch`, which should have 16384 bytes; with less than 64 bodies do not move at all.
  // Returns the bytes written, 0 when there is nothing to send now.
  std::size_t collect(MutableBytes batch);
  bool wants_output() const;
  // Nothing is left to say, and nothing more is taken: close the connection.
  bool finished() const;
  // The last answer ends where the connection ends, and it is not whole: an orderly close would
  // make it look so.
  bool must_not_close_cleanly() const;

  // Of a tunnel: nothing more will be collected, while input may go on. `true`: in order.
  std::optional<bool> output_ended() const;

  // The answer's head; 101 opens a tunnel, if the request has asked for one. Fields that end at a
  // hop are the session's to say: others are left out. An answer with a length must have as many
  // bytes, else it is cut; one without goes in chunks.
  void submit_response(RequestId, const http::ResponseHead& head, bool has_body);
  // An interim head (1xx), if the client can take it: 100 only when it waits for that. Whoever
  // wants a body that waits says so by it.
  void submit_interim(RequestId, const http::ResponseHead& head);
  // There are body bytes again, or the body has finished.
  void resume_body(RequestId);
  // So many bytes of the body have left for the other side.
  void consume(RequestId, std::size_t bytes);
  // Lets a body be up to `bytes` ahead of consume(); no effect when that is less than now.
  void grow_window(RequestId, std::uint32_t bytes);
  // The answer cannot be completed: the connection ends without its end. on_closed follows from
  // collect().
  void cut(RequestId);
  // Behind a complete answer: the rest of the upload is not waited for, and the connection ends.
  void stop_upload(RequestId);

  // Each answer that begins from now on is its connection's last, and says so.
  void announce_end();
  // No further request is taken.
  void stop();

  // Bytes of a head have come, but not all: a deadline for it applies, for each of its own.
  bool receiving_head() const;
  RequestId last_request() const;  // that was handed over
  // What the client makes the session hold, in bytes: input that is not looked at yet, the head
  // that is being received, heads of answers that are not taken.
  std::size_t held_bytes() const;

  // One line for logs.
  std::string describe() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice::http1
