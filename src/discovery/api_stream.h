// SPDX-License-Identifier: GPL-3.0-or-later
// One GET at a time at an API server, over an HTTP/2 connection that is opened when needed and
// stays: the answer comes in pieces, for as long as it lasts. Who has it ends what takes too long.
//
// Thread: the transport's.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "sluice/base/time.h"
#include "sluice/discovery/slice_watch.h"
#include "sluice/http/message.h"
#include "sluice/http2/session.h"
#include "sluice/net/connection.h"
#include "sluice/tls/context.h"

namespace sluice::discovery {

class ApiStreamHandler {
 public:
  virtual ~ApiStreamHandler() = default;
  virtual void on_status(int status) = 0;
  // False: no more is wanted, and the request is over without another event.
  virtual bool on_body(std::string_view bytes) = 0;
  // The last event: the whole answer has come, or why it has not.
  virtual void on_over(Result<void> how) = 0;
};

class ApiStream final : public net::ConnectionHandler, public http2::SessionHandler {
 public:
  // Both outlive this.
  ApiStream(net::Transport& transport, ApiStreamHandler& handler)
      : transport_(transport), handler_(handler) {}
  ~ApiStream() override;  // CHECKs terminated()

  using Server = SliceServers::Server;
  bool busy() const { return busy_; }
  // A connection to another server, or under another context, is replaced. Not while busy. Events
  // come later.
  void get(const Server& server, http::RequestHead head);
  // Ends the request, if there is one, without another event, and with it the connection.
  void give_up();
  // When anything came last; and asks for a sign of life.
  Instant heard_last() const { return heard_last_; }
  void ping();

  void terminate();
  bool terminated() const { return connection_ == nullptr; }

  // net::ConnectionHandler
  void on_established() override;
  void on_receive(Bytes plain) override;
  std::size_t on_collect(MutableBytes batch) override;
  void on_end(const Error& error) override;
  void on_closed() override;

  // http2::SessionHandler
  void on_response(http2::StreamRef, http::ResponseHead&&, bool) override;
  void on_data(http2::StreamRef, Bytes) override;
  void on_end_of_stream(http2::StreamRef) override;
  void on_stream_closed(http2::StreamRef, http2::ErrorCode, bool) override;
  http2::BodyResult on_body_wanted(http2::StreamRef, MutableBytes) override {
    return {0, http2::BodyStatus::finished};
  }
  void on_goaway(http2::StreamId, http2::ErrorCode) override { leaving_ = true; }
  void on_output_ready() override;

 private:
  void open();
  void submit();
  void leave();
  void over(Result<void> how);

  net::Transport& transport_;
  ApiStreamHandler& handler_;
  Server server_;
  std::unique_ptr<net::Connection> connection_;
  std::unique_ptr<http2::Session> http2_;
  bool busy_ = false;
  bool leaving_ = false;  // no further request on this connection
  bool stopping_ = false;
  http::RequestHead head_;
  http2::StreamId stream_ = 0;
  Instant heard_last_{};
};

}  // namespace sluice::discovery
