// SPDX-License-Identifier: GPL-3.0-or-later
// What is refused while a worker is short of its own CPU: work stands in a queue because there is
// more of it than the worker can do. Then a growing part of the work is refused, until the queue
// moves again: of those clients that cause more of it than others do, as if all had been cut to the
// same height, what costs most first. Who causes less than that notices nothing; what runs goes on.
//
// Pure. Thread: the worker's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <unordered_map>

#include "sluice/base/random.h"
#include "sluice/base/time.h"
#include "sluice/io/turn_load.h"
#include "sluice/kubernetes/long_running.h"

namespace sluice::proxy {

struct GovernorOptions {
  Duration wait_max{};  // zero: nothing is ever refused
  Duration patience{};  // for so long work may wait longer
};

class Governor {
 public:
  explicit Governor(const GovernorOptions& options) : options_(options) {}

  // To be told before it is asked, and now and then.
  void look(const io::TurnLoad& load) {
    if (load.windows() != seen_) [[unlikely]]
      judge(load.windows(), load.wait());
  }

  // Whether anything is counted, which costs a little.
  bool watches() const { return watches_; }
  // One more request of this client (its name, see RequestPlan): whether it is refused. A request
  // that is served whatever happens is only counted, with charge().
  bool refuses(std::uint64_t client, kubernetes::RequestClass request_class, Random& random);
  void charge(std::uint64_t client, double work);
  // Bytes that have travelled for it, in either direction.
  void charge_bytes(std::uint64_t client, std::uint64_t bytes) {
    if (watches_) charge(client, static_cast<double>(bytes) / bytes_of_a_request);
  }

  // The part of all work that is to be refused, from 0 to 1.
  double shed() const { return shed_; }
  // Of clients that are told apart.
  std::size_t clients() const { return work_.size(); }

 private:
  // What a request without a body costs is about what so many bytes of one do.
  static constexpr double bytes_of_a_request = 64 * 1024;

  void judge(std::uint64_t windows, Duration wait);
  void age(std::uint64_t windows);
  void find_height();

  const GovernorOptions options_;
  std::uint64_t seen_ = 0;   // windows
  Duration too_long_for_{};  // in each window of so much time
  bool watches_ = false;
  double shed_ = 0;
  double height_ = std::numeric_limits<double>::infinity();  // nobody's work is cut below it
  std::unordered_map<std::uint64_t, double> work_;           // decaying; of the last second or so
  double rest_ = 0;                                          // of those for whom there is no room
};

}  // namespace sluice::proxy
