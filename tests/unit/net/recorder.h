// SPDX-License-Identifier: GPL-3.0-or-later
// One end of a connection for tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>

#include "sluice/net/connection.h"

namespace sluice::net {

// Records what its connection tells, and sends what it is given.
class Recorder final : public ConnectionHandler {
 public:
  explicit Recorder(Transport& transport) : connection(transport, *this) {}

  void on_established() override { established = true; }
  void on_receive(Bytes plain) override {
    received += as_text(plain);
    if (then) then();
  }
  void on_turn() override {
    ++turns;
    if (on_each_turn) on_each_turn();
  }
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
  int turns = 0;
  std::function<void()> on_each_turn;
  std::function<void()> then;  // after each piece that was received
};

}  // namespace sluice::net
