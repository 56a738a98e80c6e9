// SPDX-License-Identifier: GPL-3.0-or-later
// The backend side of one exchange: one stream of an HTTP/2 session to a backend, from the wait for
// a free place to its end.
//
//   idle ──open()──▶ waiting ──▶ open ──▶ ended        waiting may end at once (no connection)
//
// A Stream is a member of its exchange; destroying it cancels it. Each stream that was opened ends
// with exactly one on_stream_ended, unless cancel() or the destructor came first.
#pragma once

#include <cstdint>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/base/list.h"
#include "sluice/base/slot_map.h"
#include "sluice/base/time.h"
#include "sluice/http/message.h"
#include "sluice/http2/session.h"

namespace sluice::backend {

class Session;
class SessionPool;

// How a stream ended, and what that allows.
struct StreamEnd {
  enum class Cause : std::uint8_t {
    completed,        // the answer is complete; the backend ended its direction cleanly
    reset,            // RST_STREAM from the backend, or an answer that broke HTTP/2
    refused,          // REFUSED_STREAM, or above GOAWAY's last stream: not executed
    connection_lost,  // the connection ended under the stream
    not_connected,    // no connection could be had: nothing was sent
  };
  Cause cause = Cause::completed;
  http2::ErrorCode code = http2::ErrorCode::no_error;
  Retry retry = Retry::never;  // not_executed: surely not; idempotent: lost before an answer
  std::string context;
};

std::string_view to_string(StreamEnd::Cause cause);

class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  virtual const http::RequestHead& request_head() = 0;
  // 1xx heads come first, the final head last.
  virtual void on_response(http::ResponseHead&& head, bool end_of_stream) = 0;
  // Every byte must be returned by Stream::consume once it has left for the client.
  virtual void on_response_body(Bytes bytes) = 0;
  virtual void on_response_trailers(http::Fields&& trailers) = 0;
  virtual http2::BodyResult on_request_body_wanted(MutableBytes room) = 0;
  virtual void on_stream_ended(const StreamEnd& end) = 0;
  // The stream's connection is draining and there are too many of those: a watch should move.
  virtual void on_connection_retiring() = 0;
};

struct WaitingTag;
struct OpenTag;

class Stream : public ListNode<WaitingTag>, public ListNode<OpenTag> {
 public:
  enum class State : std::uint8_t { idle, waiting, open, ended };

  explicit Stream(StreamHandler& handler) : handler_(handler) {}
  ~Stream() { cancel(http2::ErrorCode::cancel); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  State state() const { return state_; }
  // Gives the stream up: no further event. Ready to be opened again.
  void cancel(http2::ErrorCode code);
  void consume(std::size_t bytes);
  // Lets the backend be up to `bytes` ahead of us.
  void grow_window(std::uint32_t bytes);
  void resume_body();

 private:
  friend class Session;
  friend class SessionPool;
  void reset_to_idle();

  StreamHandler& handler_;
  State state_ = State::idle;
  bool has_body_ = false;
  bool ends_connection_ = false;
  bool request_sent_ = false;    // its END_STREAM included
  bool answered_ = false;        // a final head was seen
  bool ended_cleanly_ = false;   // the backend has ended its direction
  Session* session_ = nullptr;   // while open
  SessionPool* pool_ = nullptr;  // while waiting or open
  http2::StreamId id_ = 0;
  SlotId slot_;
  Instant waiting_since_{};
};

}  // namespace sluice::backend
