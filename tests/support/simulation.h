// SPDX-License-Identifier: GPL-3.0-or-later
// A reactor on the simulated ring, driven by hand: settle() lets everything happen that can happen
// now, advance() lets time pass.
#pragma once

#include <memory>

#include "simulated_ring.h"
#include "sluice/base/check.h"
#include "sluice/io/reactor.h"
#include "sluice/net/transport.h"
#include "sluice/tls/context.h"

namespace sluice::test {

class Simulation {
 public:
  explicit Simulation(net::TransportOptions options = {}) {
    CHECK(tls::initialize().has_value());
    reactor_ = std::move(*io::Reactor::create({}));
    // The budget of handshakes is measured with a real clock.
    options.handshake_time_per_turn = std::chrono::hours(1);
    transport_ = std::make_unique<net::Transport>(*reactor_, options);
  }

  SimulatedNetwork& network() { return network_; }
  io::Reactor& reactor() { return *reactor_; }
  net::Transport& transport() { return *transport_; }
  Instant now() const { return network_.now(); }

  void settle() {
    constexpr int quiet_turns = 3;  // what one turn leaves to the end of the next is done by then
    for (int quiet = 0; quiet < quiet_turns; ++quiet) {
      const std::uint64_t before = network_.completions();
      reactor_->turn(false);
      if (network_.completions() != before) quiet = 0;
    }
  }

  void advance(Duration duration) {
    bool over = false;
    io::Timer timer(&over, [](void* flag) { *static_cast<bool*>(flag) = true; });
    reactor_->timers().set(timer, now() + duration);
    reactor_->run_until([&] { return over; });
    settle();
  }

 private:
  SimulatedNetwork network_;
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<net::Transport> transport_;
};

}  // namespace sluice::test
