// SPDX-License-Identifier: GPL-3.0-or-later
// A reactor, certificates, and both ends of TLS connections over loopback, for tests of this
// folder.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string_view>

#include "contexts.h"
#include "recorder.h"
#include "sluice/io/socket.h"
#include "sluice/net/listener.h"

namespace sluice::net {

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
    contexts = make_contexts();
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
    return [this](std::string_view) { return contexts.server; };
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

  // `name`: what the client asks the server to be.
  void connect(std::string_view name = "localhost") {
    client = std::make_unique<Recorder>(*transport);
    server = std::make_unique<Recorder>(*transport);
    client->connection.connect(address, contexts.client, name);
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
  Contexts contexts;
  int listener = -1;
  io::Address address;
  std::unique_ptr<Recorder> client;
  std::unique_ptr<Recorder> server;
};

}  // namespace sluice::net
