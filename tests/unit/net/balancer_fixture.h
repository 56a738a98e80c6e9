// SPDX-License-Identifier: GPL-3.0-or-later
// A server that balancers connect to, on the simulated ring.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "caller.h"
#include "contexts.h"
#include "recorder.h"
#include "simulation.h"
#include "sluice/io/network.h"
#include "sluice/io/socket.h"

namespace sluice::net {

class BalancerTest : public testing::Test {
 protected:
  struct Pair {
    std::unique_ptr<Caller> caller;
    std::unique_ptr<Recorder> server;
  };

  BalancerTest() {
    contexts = make_contexts();
    listener = io::listen_on(address, {}).value();
  }

  void TearDown() override {
    for (Pair& pair : pairs) {
      if (pair.server->connection.state() != Connection::State::closed) {
        pair.server->connection.terminate();
      }
    }
    simulation.settle();
    pairs.clear();
    io::close_socket(listener);
  }

  // Accepted, with nothing said.
  Pair& connect() {
    Pair& pair = pairs.emplace_back(std::make_unique<Caller>(simulation.reactor(), address),
                                    std::make_unique<Recorder>(simulation.transport()));
    int descriptor = -1;
    while ((descriptor = io::accept_now(listener)) < 0) simulation.reactor().turn(false);
    pair.server->connection.accept(
        descriptor,
        [this](std::string_view name) {
          asked_for.emplace_back(name);
          return contexts.server;
        },
        balancers);
    return pair;
  }
  std::uint64_t failed() { return simulation.transport().counters().handshakes_failed; }

  test::Simulation simulation;
  Contexts contexts;
  io::Address address = *io::Address::parse("10.0.0.1:6443");
  // Where the simulated network has its callers.
  std::vector<io::Network> balancers = {io::Network::parse("0.0.0.0/0").value()};
  std::vector<std::string> asked_for;  // by each
  int listener = -1;
  std::vector<Pair> pairs;
};

}  // namespace sluice::net
