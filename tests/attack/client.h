// SPDX-License-Identifier: GPL-3.0-or-later
// A well-behaved HTTP/2 client on a Call: requests in, outcomes out.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "call.h"
#include "sluice/http2/session.h"

namespace sluice::attack {

struct Request {
  std::string method = "GET";
  std::string path = "/version";
  std::string token = {};
  std::string body = {};
  bool reads = true;  // false: its window is never opened again
};

struct Outcome {
  int status = 0;
  bool whole = false;
  // Nothing was done with it: it can be asked again, on another connection.
  bool not_executed = false;
  std::string why;  // when it is not whole

  bool good() const { return whole && status >= 200 && status < 300; }
};

class Client final : public Call::Handler, public http2::SessionHandler {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void on_outcome(std::uint64_t tag, const Outcome& outcome) = 0;
    virtual void on_head(std::uint64_t /*tag*/, int /*status*/) {}
    virtual void on_bytes(std::uint64_t /*tag*/) {}
  };

  Client(Loop& loop, const Destination& destination, Handler& handler);

  // Its TLS and the peer's SETTINGS are there, and it may open a stream now.
  bool can_ask() const;
  void ask(const Request& request, std::uint64_t tag);
  void reset(std::uint64_t tag);
  std::size_t open() const { return streams_.size(); }
  bool ended() const { return ended_; }
  // Told to go, or ended: further requests want another connection.
  bool leaving() const { return ended_ || (session_ && session_->goaway_received()); }
  const std::string& why() const { return why_; }
  // Sends what asking has queued; once for many requests.
  void flush();

 private:
  struct Stream {
    std::uint64_t tag = 0;
    std::string body;
    std::size_t sent = 0;
    bool reads = true;
    Outcome outcome;
  };

  void on_established() override;
  void on_plain(Bytes bytes) override;
  void on_end(std::string_view why) override;

  void on_response(http2::StreamRef, http::ResponseHead&& head, bool) override;
  void on_data(http2::StreamRef, Bytes data) override;
  void on_end_of_stream(http2::StreamRef) override;
  void on_stream_closed(http2::StreamRef, http2::ErrorCode code, bool by_peer) override;
  http2::BodyResult on_body_wanted(http2::StreamRef, MutableBytes room) override;

  Handler& handler_;
  std::optional<http2::Session> session_;
  std::map<http2::StreamId, Stream> streams_;
  bool ended_ = false;
  std::string why_;
  Call call_;
};

}  // namespace sluice::attack
