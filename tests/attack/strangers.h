// SPDX-License-Identifier: GPL-3.0-or-later
// What one attack does, and what it counts of itself. Each is bounded: by the connections that it
// has at once, by how often it opens one, and by the time that it is given.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "call.h"
#include "client.h"
#include "credentials.h"

namespace sluice::attack {

struct Tally {
  std::uint64_t connections = 0;  // opened
  std::uint64_t cut = 0;          // ended by the other side
  std::uint64_t requests = 0;
  std::uint64_t answers = 0;  // whole ones
  std::uint64_t refused = 0;  // 429 and 503 among them
  std::uint64_t bytes = 0;    // plain ones that were queued
};

struct Field {
  Loop& loop;
  const Credentials& credentials;
  io::Address target;
  std::string source;
  Tally tally = {};

  Destination destination(const std::string& user = {}) const {
    return {target, source, user.empty() ? credentials.nobody() : credentials.certificate(user),
            false, true};
  }
};

class Stranger {
 public:
  virtual ~Stranger() = default;
  // Outside of the loop's turn; true: it has more to do at once.
  virtual bool act() = 0;
};

struct Attack {
  std::string_view name;
  std::string_view what;
  std::size_t connections;  // at once
  std::function<std::unique_ptr<Stranger>(Field&)> make;
};
const std::vector<Attack>& attacks();

// --- connections with a script ----------------------------------------------------------------

struct Script {
  Destination destination = {};
  std::size_t connections = 1;
  double opens_per_second = 200;
  // What is queued when the connection is there; `number` counts connections.
  std::function<void(Call& call, std::uint64_t number)> begin = {};
  // What is queued each `interval` as long as little is waiting; `step` counts from 0.
  std::function<void(Call& call, std::uint64_t number, std::uint64_t step)> more = {};
  Clock::duration interval{};  // 0: as fast as it is taken
  bool reads = true;           // what comes after the handshake
  bool ends_when_answered = false;
  Clock::duration life = 1h;  // then it is closed, and another one opened
};
std::unique_ptr<Stranger> follow(Field& field, Script script);

// --- requests of a client that is well-behaved but for their number ------------------------------

struct Asking {
  Destination destination = {};
  std::size_t connections = 1;
  std::size_t at_once = 1;  // on each
  std::function<Request(std::uint64_t number)> next = {};
  double per_second = 5000;
};
std::unique_ptr<Stranger> keep_asking(Field& field, Asking asking);

}  // namespace sluice::attack
