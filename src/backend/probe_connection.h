// SPDX-License-Identifier: GPL-3.0-or-later
// One request at a time over an HTTP/2 connection that is opened when needed. For probes only:
// answers are gathered up to 64 KB.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/backend/endpoint.h"
#include "sluice/http2/session.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/net/connection.h"
#include "sluice/tls/context.h"

namespace sluice::backend {

struct ProbeAnswer {
  int status = 0;
  std::string date;  // the field
  std::string body;
};

class ProbeConnection final : public net::ConnectionHandler, public http2::SessionHandler {
 public:
  // Exactly once per request, never from inside request().
  using Done = std::function<void(Result<ProbeAnswer>)>;
  // Called with the answer's body piece by piece, which is not gathered then. False: no more of it
  // is received; the timeout ends the request.
  using OnBody = std::function<bool(std::string_view piece)>;

  // `endpoint` outlives this.
  ProbeConnection(net::Transport& transport, const Endpoint& endpoint,
                  std::shared_ptr<const tls::ClientContext> context);
  ~ProbeConnection() override;

  // From now on; a connection under another context goes as soon as nobody waits for its answer.
  void use(std::shared_ptr<const tls::ClientContext> context);
  bool busy() const { return static_cast<bool>(done_); }
  void request(http::RequestHead head, std::string body, Duration timeout, Done done,
               OnBody on_body = nullptr);
  // Nobody waits for the answer any longer: ends the request like its timeout does.
  void give_up() { timed_out(); }
  // Ends the connection after this request; the next one opens another.
  void close_after() { close_after_ = true; }
  void terminate();
  bool terminated() const { return !connection_; }

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
  http2::BodyResult on_body_wanted(http2::StreamRef, MutableBytes room) override;
  void on_goaway(http2::StreamId, http2::ErrorCode) override { leaving_ = true; }
  void on_output_ready() override;

 private:
  void open();
  void submit();
  void finish(Result<ProbeAnswer> answer);
  void timed_out();

  net::Transport& transport_;
  const Endpoint& endpoint_;
  std::shared_ptr<const tls::ClientContext> context_;
  std::unique_ptr<net::Connection> connection_;
  std::unique_ptr<http2::Session> http2_;
  bool leaving_ = false;  // no further request on this connection
  bool close_after_ = false;
  bool stopping_ = false;
  http::RequestHead head_;
  std::string body_;
  std::size_t body_sent_ = 0;
  http2::StreamId stream_ = 0;
  ProbeAnswer answer_;
  Done done_;
  OnBody on_body_;
  io::Timer timer_;
};

}  // namespace sluice::backend
