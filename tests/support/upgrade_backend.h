// SPDX-License-Identifier: GPL-3.0-or-later
// An API server as one that is asked to switch protocols: it accepts HTTP/1.1 connections, keeps
// what it hears, and says what the test tells it to. For the simulated ring.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scripted_backend.h"

namespace sluice::test {

class UpgradeBackend {
 public:
  static constexpr std::string_view switched =
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";

  class Connection final : public net::ConnectionHandler {
   public:
    Connection(UpgradeBackend& backend, int descriptor);

    void send(std::string_view bytes);
    // Behind what was sent.
    void end_output(bool in_order = true);
    void close() { connection_.close(); }
    void drop() { connection_.terminate(); }
    void pause() { connection_.pause_receiving(); }
    void resume() { connection_.resume_receiving(); }

    std::string received;
    std::optional<bool> peer_end;  // in order
    std::optional<Error> end;
    bool closed = false;
    bool with_certificate = false;
    std::size_t unsent() const { return to_send_.size() - sent_; }

    void on_established() override;
    void on_receive(Bytes plain) override;
    std::size_t on_collect(MutableBytes batch) override;
    bool on_peer_ended(bool in_order) override;
    void on_end(const Error& error) override { end = error; }
    void on_closed() override { closed = true; }

   private:
    UpgradeBackend& backend_;
    net::Connection connection_;
    std::string to_send_;
    std::size_t sent_ = 0;
    std::optional<bool> ends_;
  };

  UpgradeBackend(net::Transport& transport, const io::Address& address);
  ~UpgradeBackend();  // stop() has come before, and been settled

  // Whenever bytes have come.
  std::function<void(Connection&)> on_receive;
  // What it agrees on by ALPN.
  void listen(const char* protocol = "http/1.1");
  void refuse();  // no listener any more; connections go on
  void stop();

  Connection& connection(std::size_t number) { return *connections_.at(number); }
  std::size_t accepted() const { return connections_.size(); }
  std::size_t open_connections() const;

 private:
  void on_accepted(const io::Completion& completion);

  net::Transport& transport_;
  io::Address address_;
  std::shared_ptr<const tls::ServerContext> context_;
  int listener_ = -1;
  io::Operation accept_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace sluice::test
