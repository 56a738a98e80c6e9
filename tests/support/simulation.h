// SPDX-License-Identifier: GPL-3.0-or-later
// Reactors on simulated rings, driven by hand: settle() lets everything happen that can happen
// now, advance() lets time pass.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "simulated_ring.h"
#include "sluice/base/check.h"
#include "sluice/io/reactor.h"
#include "sluice/net/transport.h"
#include "sluice/tls/context.h"

namespace sluice::test {

class Simulation {
 public:
  // No time passes within a turn: it serves all handshakes, or, without a budget, one.
  enum class Handshakes : bool { all, one_a_turn };

  explicit Simulation(net::TransportOptions options = {}, Handshakes handshakes = Handshakes::all) {
    CHECK(tls::initialize().has_value());
    reactor_ = std::move(*io::Reactor::create({}));
    if (handshakes == Handshakes::one_a_turn) options.handshake_time_per_turn = Duration::zero();
    transport_ = std::make_unique<net::Transport>(*reactor_, options);
  }

  SimulatedNetwork& network() { return network_; }
  const SimulatedNetwork& network() const { return network_; }
  io::Reactor& reactor() { return *reactor_; }
  net::Transport& transport() { return *transport_; }
  Instant now() const { return network_.now(); }

  // One more reactor on the network, turned with the others; it lives as long as this.
  io::Reactor& add_reactor() {
    others_.push_back(std::move(*io::Reactor::create({})));
    return *others_.back();
  }

  void settle() {
    constexpr int quiet_turns = 3;  // what one turn leaves to the end of the next is done by then
    for (int quiet = 0; quiet < quiet_turns; ++quiet) {
      const std::uint64_t before = network_.progress();
      turn_all(false);
      if (network_.progress() != before) quiet = 0;
    }
  }

  void advance(Duration duration) {
    bool over = false;
    io::Timer timer(&over, [](void* flag) { *static_cast<bool*>(flag) = true; });
    reactor_->timers().set(timer, now() + duration);
    while (!over) turn_all(true);
    settle();
  }

 private:
  void turn_all(bool wait) {
    reactor_->turn(wait);
    for (const auto& reactor : others_) reactor->turn(wait);
  }

  SimulatedNetwork network_;
  std::unique_ptr<io::Reactor> reactor_;
  std::vector<std::unique_ptr<io::Reactor>> others_;
  std::unique_ptr<net::Transport> transport_;
};

}  // namespace sluice::test
