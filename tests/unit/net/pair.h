// SPDX-License-Identifier: GPL-3.0-or-later
// A reactor, certificates, and both ends of TLS connections over loopback, for tests of this
// folder.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "certificates.h"
#include "sluice/io/socket.h"
#include "sluice/net/connection.h"
#include "sluice/net/listener.h"

namespace sluice::net {

// Records what its connection tells, and sends what it is given.
class Recorder final : public ConnectionHandler {
 public:
  explicit Recorder(Transport& transport) : connection(transport, *this) {}

  void on_established() override { established = true; }
  void on_receive(Bytes plain) override { received += as_text(plain); }
  std::size_t on_collect(MutableBytes batch) override {
    const std::size_t n = std::min(batch.size(), to_send.size() - sent);
    std::copy_n(to_send.data() + sent, n, batch.begin());
    sent += n;
    return n;
  }
  void on_end(const Error& error) override {
    EXPECT_FALSE(end.has_value());
    end = error;
  }
  void on_closed() override { closed = true; }

  void send(std::string text) {
    to_send += text;
    connection.mark_dirty();
  }

  Connection connection;
  bool established = false;
  bool closed = false;
  std::string received;
  std::string to_send;
  std::size_t sent = 0;
  std::optional<Error> end;
};

class NetTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(tls::initialize());
    auto created = io::Reactor::create(
        {.submission_entries = 64, .completion_entries = 512, .receive_buffers = 16});
    ASSERT_TRUE(created) << created.error().context;
    reactor = std::move(*created);
    options.handshake_timeout = std::chrono::milliseconds(300);
    options.close_linger = std::chrono::milliseconds(300);
    options.send_stall_timeout = std::chrono::milliseconds(300);
    transport = std::make_unique<Transport>(*reactor, options);
    const test::Certificate ca = test::make_ca("serving-ca");
    const test::Certificate leaf = test::issue_server(ca, {"localhost"});
    server_context = std::move(tls::ServerContext::create({.certificate_chain_pem = leaf.pem(),
                                                           .private_key_pem = leaf.key_pem(),
                                                           .client_ca_pem = {}}))
                         .value();
    client_context = std::move(tls::ClientContext::create({.ca_pem = ca.pem(),
                                                           .server_name = "localhost",
                                                           .certificate_chain_pem = {},
                                                           .private_key_pem = {}}))
                         .value();
    listener = io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value();
    address = io::local_address(listener).value();
  }

  void TearDown() override {
    for (Recorder* end : {client.get(), server.get()}) {
      if (end == nullptr || end->connection.state() == Connection::State::idle) continue;
      end->connection.terminate();
      until([&] { return end->closed; });
    }
    client.reset();
    server.reset();
    transport.reset();
    reactor.reset();
    io::close_socket(listener);
  }

  ContextSelector select() {
    return [this](std::string_view) { return server_context.get(); };
  }

  // Turns until `done`, for ten seconds at most.
  template <class F>
  bool until(F&& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    bool in_time = true;
    io::Timer wake(nullptr, [](void*) {});
    reactor->run_until([&] {
      if (done()) return true;
      in_time = std::chrono::steady_clock::now() < deadline;
      reactor->timers().set(wake, reactor->now(), std::chrono::milliseconds(20));
      return !in_time;
    });
    wake.cancel();
    return in_time;
  }

  void connect() {
    client = std::make_unique<Recorder>(*transport);
    server = std::make_unique<Recorder>(*transport);
    client->connection.connect(address, *client_context);
    accept();
  }

  void accept() {
    int descriptor = -1;
    ASSERT_TRUE(until([&] { return (descriptor = io::accept_now(listener)) >= 0; }));
    server->connection.accept(descriptor, select());
  }

  void establish() {
    connect();
    ASSERT_TRUE(until([&] { return client->established && server->established; }));
  }

  TransportOptions options;
  std::unique_ptr<io::Reactor> reactor;
  std::unique_ptr<Transport> transport;
  std::unique_ptr<tls::ServerContext> server_context;
  std::unique_ptr<tls::ClientContext> client_context;
  int listener = -1;
  io::Address address;
  std::unique_ptr<Recorder> client;
  std::unique_ptr<Recorder> server;
};

}  // namespace sluice::net
