// SPDX-License-Identifier: GPL-3.0-or-later
// A client's connection: TLS, HTTP/2, and one exchange per stream.
//
//   handshake ──▶ serving ──▶ leaving (GOAWAY sent) ──▶ closed
//            └──▶ refusing (the client speaks HTTP/1.1) ──▶ closed
//
// Owned by its worker; destroyed from on_closed's notification at the end of a turn.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sluice/http2/session.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/net/connection.h"
#include "sluice/observability/metrics.h"
#include "sluice/proxy/exchange.h"
#include "sluice/proxy/proxy.h"

namespace sluice::server {

struct ClientOptions {
  http2::SessionOptions session;
  Duration head_timeout = std::chrono::seconds(10);  // preface and first SETTINGS
  Duration idle_timeout = std::chrono::minutes(15);  // without streams
};

struct ClientMetrics {
  explicit ClientMetrics(metrics::Registry& registry);
  metrics::GaugeId connections;
  metrics::CounterId accepted;
  metrics::CounterId handshakes;
  metrics::CounterTable ended;         // why
  metrics::CounterTable abuse;         // http2::AbuseKind
  metrics::CounterTable certificates;  // what client certificates led to
  metrics::CounterId http1_refused;
};

class ClientConnection final : public net::ConnectionHandler,
                               public http2::SessionHandler,
                               public proxy::ClientSide {
 public:
  using OnClosed = std::function<void(ClientConnection&)>;

  ClientConnection(net::Transport& transport, proxy::Proxy& proxy, const ClientOptions& options,
                   metrics::Cells& cells, const ClientMetrics& metrics, OnClosed on_closed);
  ~ClientConnection() override;

  void accept(int descriptor, const net::ContextSelector& select);

  // Our own stop: first a notice, a round trip later the last word; closed when no stream is left.
  void leave_notice();
  void leave();
  // What is left is told to go (GOAWAY, close_notify, FIN), never reset.
  void close_now();
  bool has_streams() const { return streams_ > 0; }

  // net::ConnectionHandler
  void on_established() override;
  void on_receive(Bytes plain) override;
  std::size_t on_collect(MutableBytes batch) override;
  void on_end(const Error& error) override;
  void on_closed() override;

  // http2::SessionHandler
  void on_request(http2::StreamRef, http::RequestHead&&, bool end_of_stream) override;
  void on_head_too_large(http2::StreamRef) override;
  void on_data(http2::StreamRef, Bytes) override;
  void on_end_of_stream(http2::StreamRef) override;
  void on_stream_closed(http2::StreamRef, http2::ErrorCode, bool by_peer) override;
  http2::BodyResult on_body_wanted(http2::StreamRef, MutableBytes room) override;
  const http::Fields* on_trailers_wanted(http2::StreamRef) override;
  void on_output_ready() override { connection_.mark_dirty(); }

  // proxy::ClientSide
  const proxy::ClientFacts& facts() const override { return facts_; }
  void send_interim(http2::StreamId, const http::ResponseHead& head) override;
  void send_response(http2::StreamId, const http::ResponseHead& head, bool has_body) override;
  void resume_body(http2::StreamId) override;
  void consume(http2::StreamId, std::size_t bytes) override;
  void grow_window(http2::StreamId, std::uint32_t bytes) override;
  void reset(http2::StreamId, http2::ErrorCode) override;
  void set_urgent(http2::StreamId) override;

 private:
  enum class State : std::uint8_t { handshake, serving, leaving, refusing, closed };

  void establish_identity();
  void add_stream(http2::StreamRef ref, SlotId exchange);
  void abandon_streams();
  void refuse_http1();
  void close_if_unused();
  void watch_head();
  void count_abuse(std::string_view why);
  void deadline_passed();
  Instant now() { return connection_.transport().reactor().now(); }
  void set_deadline(Duration timeout);

  net::Connection connection_;
  proxy::Proxy& proxy_;
  const ClientOptions& options_;
  metrics::Cells& cells_;
  const ClientMetrics& metrics_;
  OnClosed on_closed_;
  State state_ = State::handshake;
  std::unique_ptr<http2::Session> http2_;
  proxy::ClientFacts facts_;
  std::size_t streams_ = 0;
  Instant idle_since_{};
  bool abuse_counted_ = false;
  std::optional<Instant> head_since_;  // a request's head has begun to arrive
  std::string refusal_;                // HTTP/1.1 answer, as far as it is not sent
  io::Timer timer_;
};

}  // namespace sluice::server
