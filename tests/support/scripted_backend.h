// SPDX-License-Identifier: GPL-3.0-or-later
// An API server whose every move is the test's: it accepts HTTP/2 connections, keeps what it is
// asked, and answers, refuses, leaves or falls silent when told to. If it is to, it takes HTTP/1.1
// ones, too, as bytes. For the simulated ring.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "certificates.h"
#include "sluice/http2/session.h"
#include "sluice/io/operation.h"
#include "sluice/net/connection.h"
#include "sluice/tls/context.h"

namespace sluice::test {

// The keys of a small cluster, made once in a program. Its API servers are all named "backend".
struct ClusterKeys {
  Certificate serving_ca = make_ca("serving-ca");
  Certificate serving = issue_server(serving_ca, {"backend"});
  Certificate front_proxy_ca = make_ca("front-proxy-ca");
  Certificate front_proxy = issue_client(front_proxy_ca, "front-proxy");

  static const ClusterKeys& get();
  // `protocol`: of ALPN.
  std::shared_ptr<const tls::ClientContext> plain_context(const char* protocol = "h2") const;
  std::shared_ptr<const tls::ClientContext> identity_context(const char* protocol = "h2") const;
  std::shared_ptr<const tls::ServerContext> server_context(const char* protocol = "h2") const;
  std::shared_ptr<const tls::ServerContext> server_context_of(
      std::vector<std::string> protocols) const;
};

class ScriptedBackend {
 public:
  class Connection;
  struct Request {
    Connection* connection = nullptr;
    http2::StreamId id = 0;
    http::RequestHead head;
    std::string body;
    bool complete = false;  // its END_STREAM was seen
    bool reset = false;     // by the client
    bool closed = false;    // both directions
    bool refused = false;   // by its test, which wants no more of it

    std::string field(std::string_view name) const {
      return std::string(head.fields.find(name).value_or(""));
    }
    void answer(int status, std::string body = {});
    void answer(const http::ResponseHead& head, std::string body);
    // A head that is the whole answer.
    void answer_head(int status);
    // A head without an end, as of a watch.
    void begin(int status);
    void begin(const http::ResponseHead& head);
    void send(std::string bytes);
    void finish();
    void refuse();  // REFUSED_STREAM
  };

  class Connection final : public net::ConnectionHandler, public http2::SessionHandler {
   public:
    Connection(ScriptedBackend& backend, int descriptor);

    // GOAWAY that names the last stream that was seen; what runs goes on.
    void goaway();
    void drop() { connection_.terminate(); }
    bool ended() const { return ended_; }
    bool with_certificate() const { return with_certificate_; }
    bool speaks_http1() const { return http1_; }
    std::size_t open_streams() const;
    std::size_t open_streams_max() const { return open_streams_max_; }
    bool closed() const { return connection_.state() == net::Connection::State::closed; }
    const std::vector<Request*>& requests() const { return order_; }

    // Of HTTP/1.1: what has come and the test has not taken, and whether the peer ended in order.
    std::string heard;
    std::optional<bool> peer_end;
    // As it is; of HTTP/2, frames.
    void say(std::string_view bytes);
    // Behind what was said.
    void end_output(bool in_order = true);
    void close() { connection_.close(); }

    void on_established() override;
    void on_receive(Bytes plain) override;
    std::size_t on_collect(MutableBytes batch) override;
    bool on_peer_ended(bool in_order) override;
    void on_end(const Error&) override { ended_ = true; }
    void on_closed() override { ended_ = true; }
    void on_request(http2::StreamRef, http::RequestHead&&, bool end_of_stream) override;
    void on_data(http2::StreamRef, Bytes) override;
    void on_end_of_stream(http2::StreamRef) override;
    void on_stream_closed(http2::StreamRef, http2::ErrorCode, bool by_peer) override;
    http2::BodyResult on_body_wanted(http2::StreamRef, MutableBytes room) override;
    void on_output_ready() override { connection_.mark_dirty(); }

   private:
    friend struct Request;
    struct Outgoing {
      std::string bytes;
      bool finished = false;
    };
    ScriptedBackend& backend_;
    net::Connection connection_;
    http2::Session session_;
    std::map<http2::StreamId, Request> requests_;
    std::vector<Request*> order_;
    std::map<http2::StreamId, Outgoing> outgoing_;
    std::size_t open_streams_max_ = 0;
    std::string to_say_;
    bool said_ = false;
    bool http1_ = false;
    std::optional<bool> ends_;  // in order
    bool with_certificate_ = false;
    bool ended_ = false;
  };

  struct Options {
    std::uint32_t max_concurrent_streams = 250;
    bool http1 = false;  // as well
  };
  ScriptedBackend(net::Transport& transport, const io::Address& address, Options options);
  ScriptedBackend(net::Transport& transport, const io::Address& address)
      : ScriptedBackend(transport, address, Options{}) {}
  ~ScriptedBackend();  // stop() has come before, and been settled

  const io::Address& address() const { return address_; }
  // Called for each request once its end was seen; without it requests wait for their test.
  std::function<void(Request&)> on_request;
  // Called before that, when there is but its head.
  std::function<void(Request&)> on_head;
  // Of HTTP/1.1: whenever bytes have come, and when the peer has ended.
  std::function<void(Connection&)> on_bytes;
  // Takes bytes and says nothing any more, not even to PING.
  bool mute = false;

  void listen();
  void refuse();  // no listener any more; connections go on
  void stop();

  Connection& connection(std::size_t number) { return *connections_.at(number); }
  std::size_t accepted() const { return connections_.size(); }
  std::size_t open_connections() const;
  // All requests of all connections, in the order of their connections.
  std::vector<Request*> requests();

 private:
  void on_accepted(const io::Completion& completion);

  net::Transport& transport_;
  io::Address address_;
  Options options_;
  std::shared_ptr<const tls::ServerContext> context_;
  int listener_ = -1;
  io::Operation accept_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace sluice::test
