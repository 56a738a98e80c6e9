// SPDX-License-Identifier: GPL-3.0-or-later
// One client's connection to a simulated API server and the exchanges on it.
//
// Destroys itself in on_closed(), the last call of the connection below it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "api.h"
#include "authenticator.h"
#include "server.h"
#include "sluice/base/list.h"
#include "sluice/http2/session.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/net/connection.h"
#include "tunnel.h"

namespace sluice::apisim {

// A request and its answer.
struct Exchange : ListNode<> {
  explicit Exchange(ClientConnection& its)
      : connection(&its), timer(this, &Exchange::timer_passed) {}
  static void timer_passed(void* exchange);

  enum class State : std::uint8_t {
    receiving,  // until the request is complete
    delayed,    // the simulated latency
    answering,  // head submitted
  };
  ClientConnection* connection;
  io::Timer timer;
  http2::StreamId id = 0;
  State state = State::receiving;
  bool received = false;  // the request, to its end
  bool in_flight = false;
  bool anonymous = false;
  http::RequestHead head;
  std::string body;
  std::uint64_t record = 0;
  std::shared_ptr<const std::string> text;  // a whole answer
  std::size_t text_sent = 0;
  std::unique_ptr<Body> stream;  // or one made while it is sent
  bool gzipped = false;          // whichever it is
  WatchBody* watch = nullptr;
  bool bookmarks = false;
  Instant watch_end{};
  std::uint64_t truncate_after = UINT64_MAX;
  std::uint64_t bytes_sent = 0;
};

class ClientConnection : public net::ConnectionHandler,
                         public http2::SessionHandler,
                         public ListNode<> {
 public:
  ClientConnection(ApiServer& server, int descriptor, std::uint64_t number,
                   const net::ContextSelector& select);
  ~ClientConnection() override;

  void goaway(GoawayCause cause);
  void end_watches();
  void wake_watches();
  void close();
  void reset();  // TCP RST
  void thaw();
  bool idle() const { return exchanges_open_ == 0; }
  void timer_passed(Exchange& exchange);

  // net::ConnectionHandler
  void on_established() override;
  void on_receive(Bytes plain) override;
  std::size_t on_collect(MutableBytes batch) override;
  void on_end(const Error& error) override;
  bool on_peer_ended(bool in_order) override;
  void on_closed() override;

  // http2::SessionHandler
  void on_request(http2::StreamRef stream, http::RequestHead&& head, bool end_of_stream) override;
  void on_head_too_large(http2::StreamRef stream, http::RequestHead&& line) override;
  void on_data(http2::StreamRef stream, Bytes data) override;
  void on_trailers(http2::StreamRef stream, http::Fields&& trailers) override;
  void on_end_of_stream(http2::StreamRef stream) override;
  void on_stream_closed(http2::StreamRef stream, http2::ErrorCode code, bool by_peer) override;
  http2::BodyResult on_body_wanted(http2::StreamRef stream, MutableBytes room) override;
  void on_output_ready() override;

 private:
  static Exchange* exchange_of(http2::StreamRef stream) {
    // The tag is the exchange's address: it lives until on_stream_closed().
    return reinterpret_cast<Exchange*>(stream.tag);
  }
  Exchange& open(http2::StreamId id);
  void release(Exchange& exchange);
  const PeerFacts& peer();
  void begin(Exchange& exchange);
  bool refuse_for_shutdown(Exchange& exchange);
  std::optional<StatusError> lag_of(const http::RequestHead& head);
  bool inject_fault(Exchange& exchange);
  void complete(Exchange& exchange);
  void run(Exchange& exchange);
  void send(Exchange& exchange, Reply reply, bool flow_controlled);
  void send_bench(Exchange& exchange, const BenchTexts::Entry& entry);
  void send_text(Exchange& exchange, int status, std::string_view content_type,
                 std::shared_ptr<const std::string> text, bool flow_controlled,
                 std::uint32_t retry_after);
  void submit(Exchange& exchange, int status, std::string_view content_type,
              std::size_t content_length, bool flow_controlled, std::uint32_t retry_after);
  void arm_watch(Exchange& exchange);
  void feed(Bytes plain);
  void connection_timer_passed();
  void arm_idle_timer();
  Instant now() const;

  ApiServer& server_;
  int descriptor_;
  std::uint64_t number_;
  net::Connection connection_;
  std::unique_ptr<http2::Session> session_;
  std::unique_ptr<Tunnel> tunnel_;  // of HTTP/1.1
  List<Exchange> exchanges_;
  List<Exchange> spare_;
  std::size_t exchanges_open_ = 0;
  std::size_t exchanges_spare_ = 0;
  std::size_t watches_ = 0;
  PeerFacts peer_;
  bool said_goaway_ = false;
  http2::StreamId goaway_last_ = 0;
  bool ended_ = false;  // closing or terminating: nothing more is submitted
  std::string frozen_input_;
  io::Timer timer_;
};

}  // namespace sluice::apisim
