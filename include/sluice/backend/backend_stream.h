// SPDX-License-Identifier: GPL-3.0-or-later
// The backend side of one exchange, from the wait for a free place on a connection to its end.
//
//   idle ──open()──▶ waiting ──▶ open ──▶ ended        waiting may end at once (no connection)
//
// A stream is a member of its exchange; destroying it cancels it. Each stream that was opened ends
// with exactly one on_stream_ended, unless cancel() or the destructor came first.
#pragma once

#include <array>
#include <cstdint>

#include "sluice/balance/fair_queue.h"
#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/base/list.h"
#include "sluice/base/slot_map.h"
#include "sluice/base/time.h"
#include "sluice/http/body.h"
#include "sluice/http/message.h"

namespace sluice::backend {

// How a stream ended, and what that allows.
struct StreamEnd {
  enum class Cause : std::uint8_t {
    completed,        // the answer is complete; the backend ended its direction cleanly
    reset,            // RST_STREAM from the backend, or an answer that broke HTTP/2
    too_large,        // the head of the answer broke a limit of ours
    refused,          // REFUSED_STREAM, or above GOAWAY's last stream: not executed
    connection_lost,  // the connection ended under the stream
    not_connected,    // no connection could be had: nothing was sent
    no_place,         // every connection was full for too long: nothing was sent
  };
  Cause cause = Cause::completed;
  Retry retry = Retry::never;  // not_executed: surely not; idempotent: lost before an answer
  std::string context;
};

std::string_view to_string(StreamEnd::Cause cause);

// How long a request stays where it is, by its class. What asks for a list may bring megabytes, for
// which whatever comes behind it on its connection waits; what asks for no end (watches, logs,
// upgrades) stays.
enum class Stay : std::uint8_t { brief, lengthy, lasting };
constexpr std::array all_stays = {Stay::brief, Stay::lengthy, Stay::lasting};
constexpr std::size_t stays = all_stays.size();

// What a request brings along. Those that wait for a place wait apart, each kind with a rate of its
// own: strangers can be many, and an unproven token is mostly an honest client's new one.
enum class Standing : std::uint8_t { stranger, unproven, proven };

// Whom a connection that should be left asks to move: first those whose clients go on by
// themselves, and only if that does not help the others.
// And who waits for a place asks streams of the client that holds most: also those that nobody
// reads.
enum class Retiring : std::uint8_t { those_that_resume, all, for_others };

class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  virtual const http::RequestHead& request_head() = 0;
  // 1xx heads come first, the final head last.
  virtual void on_response(http::ResponseHead&& head, bool end_of_stream) = 0;
  // Every byte must be returned by BackendStream::consume once it has left for the client.
  virtual void on_response_body(Bytes bytes) = 0;
  virtual void on_response_trailers(http::Fields&& trailers) = 0;
  // Of a tunnel (the final head was 101): the backend has ended its direction, ours goes on.
  // `in_order`: it has said so.
  virtual void on_tunnel_half_ended(bool in_order) { (void)in_order; }
  virtual http::BodyResult on_request_body_wanted(MutableBytes room) = 0;
  virtual void on_stream_ended(const StreamEnd& end) = 0;
  // The stream's connection is draining and there are too many of those: a watch should move. Or
  // others wait for its place. Whether this one goes.
  virtual bool on_connection_retiring(Retiring who) = 0;
};

class BackendStream;

// Who has a stream: the queue in which it waits for a connection, or the connection that carries
// it. Bytes and windows mean nothing while it waits.
class Carrier {
 public:
  virtual ~Carrier() = default;
  // Lets go of it.
  virtual void cancel(BackendStream& stream) = 0;
  // The same; what it alone has made use of ends behind what was collected. `in_order`: as
  // something whole.
  virtual void conclude(BackendStream& stream, bool in_order) {
    (void)in_order;
    cancel(stream);
  }
  // What it makes its carrier hold, in bytes, where that is told apart from others'.
  virtual std::size_t held_bytes(const BackendStream& stream) const {
    (void)stream;
    return 0;
  }
  virtual void consume(BackendStream& stream, std::size_t bytes) = 0;
  virtual void grow_window(BackendStream& stream, std::uint32_t bytes) = 0;
  virtual void resume_body(BackendStream& stream) = 0;
};

struct WaitingTag;
struct OpenTag;

class BackendStream : public ListNode<WaitingTag>,
                      public ListNode<OpenTag>,
                      public balance::FairWaiter {
 public:
  enum class State : std::uint8_t { idle, waiting, open, ended };

  explicit BackendStream(StreamHandler& handler) : handler_(handler) {}
  ~BackendStream() { cancel(); }
  BackendStream(const BackendStream&) = delete;
  BackendStream& operator=(const BackendStream&) = delete;

  State state() const { return state_; }
  // Gives the stream up: no further event. Ready to be opened again.
  void cancel();
  // The same at the end of a tunnel. `in_order`: its client has said so.
  void conclude(bool in_order);
  std::size_t held_bytes() const { return state_ == State::open ? carrier_->held_bytes(*this) : 0; }
  // So many bytes of the answer have left for the client.
  void consume(std::size_t bytes) {
    if (state_ == State::open) carrier_->consume(*this, bytes);
  }
  // Lets the backend be up to `bytes` ahead of us.
  void grow_window(std::uint32_t bytes) {
    if (state_ == State::open) carrier_->grow_window(*this, bytes);
  }
  void resume_body() {
    if (state_ == State::open) carrier_->resume_body(*this);
  }

  // --- For carriers.
  struct Carriage {
    bool has_body = false;
    bool ends_connection = false;
    bool behind = false;  // waits behind those whose clients hold less than their share
    Stay stay = Stay::brief;
    Standing standing = Standing::proven;
    std::uint64_t client = 0;  // see OpenRequest
    std::uint64_t connection = 0;
    bool request_sent = false;   // its END_STREAM included
    bool answered = false;       // a final head was seen
    bool ended_cleanly = false;  // the backend has ended its direction
    std::int32_t number = 0;     // on its connection
    SlotId slot;                 // the same
    Instant waiting_since{};
  };
  StreamHandler& handler() { return handler_; }
  Carriage& carriage() { return carriage_; }
  // An idle or ended one begins to wait.
  void wait(Carrier& carrier, const Carriage& carriage);
  void open_on(Carrier& carrier);
  // Nobody carries it any more; it may be opened again.
  void let_go();
  // The same, and the handler is told.
  void end(const StreamEnd& end);

 private:
  StreamHandler& handler_;
  State state_ = State::idle;
  Carrier* carrier_ = nullptr;  // while waiting or open
  Carriage carriage_;
};

}  // namespace sluice::backend
