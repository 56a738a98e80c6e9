// SPDX-License-Identifier: GPL-3.0-or-later
// A client that asks, reads all that it is sent, and counts.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/http2/session.h"
#include "sluice/net/connection.h"

namespace sluice::server {

// A client with one stream at a time, of the server that it asks for by `name`.
class SmallClient final : public net::ConnectionHandler, public http2::SessionHandler {
 public:
  SmallClient(net::Transport& transport, const io::Address& address,
              std::shared_ptr<const tls::ClientContext> tls, std::string_view name = "backend")
      : connection(transport, *this), session_(*this, {.server = false}, Instant{}) {
    connection.connect(address, std::move(tls), name);
  }

  void ask(std::string_view path, std::string_view authority = "kubernetes") {
    http::RequestHead head;
    head.method = "GET";
    head.scheme = "https";
    head.authority = authority;
    head.path = path;
    if (!token.empty()) head.fields.add("authorization", "Bearer " + token);
    ASSERT_TRUE(session_.submit_request(head, false, 0));
    connection.mark_dirty();
  }

  void on_established() override { connection.mark_dirty(); }
  void on_receive(Bytes plain) override {
    (void)session_.feed(plain, Instant{});
    connection.mark_dirty();
  }
  std::size_t on_collect(MutableBytes batch) override { return session_.collect(batch); }
  void on_end(const Error& error) override { end = error.context; }
  void on_closed() override { closed = true; }
  void on_response(http2::StreamRef, http::ResponseHead&& head, bool) override {
    statuses.push_back(head.status);
  }
  void on_data(http2::StreamRef ref, Bytes bytes) override {
    session_.consume(ref.id, bytes.size());
  }
  void on_end_of_stream(http2::StreamRef) override { ++complete; }
  void on_stream_closed(http2::StreamRef, http2::ErrorCode, bool) override {}
  http2::BodyResult on_body_wanted(http2::StreamRef, MutableBytes) override {
    return {0, http2::BodyStatus::finished};
  }
  void on_goaway(http2::StreamId, http2::ErrorCode) override { ++goaways; }
  void on_output_ready() override { connection.mark_dirty(); }

  net::Connection connection;
  std::string token = "x";
  std::string end;  // why the connection did
  std::vector<int> statuses;
  int complete = 0;
  int goaways = 0;
  bool closed = false;

 private:
  http2::Session session_;
};

}  // namespace sluice::server
