// SPDX-License-Identifier: GPL-3.0-or-later
// Which of a few backends answers worse than the others, and how much less it should get for it:
// late, failing, or turning requests away because it is overloaded. All are judged by what all
// workers have seen together, and against the (lower) median of their peers, so that with two to
// seven of them at least half are always good: where most look bad, it is not they. What is judged
// bad keeps a small share, by which it is seen to be good again. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sluice/balance/answers.h"
#include "sluice/balance/picker.h"

namespace sluice::balance {

// Why a backend gets less than its peers.
enum class Lowered : std::uint8_t { no, starting, slow, failing, overloaded };
std::string_view to_string(Lowered lowered);

class PeerReview {
 public:
  static constexpr double least_share = 1.0 / 8;

  // A backend in this slot that nothing is known of.
  void forget(std::size_t backend) { peer(backend) = {}; }
  // What has come of its requests, in the time that review() is told of next.
  void add(std::size_t backend, const Answers& more);
  // So much time has passed. `among`: those that are in use; others are not compared.
  void review(Duration passed, BackendMask among);

  double share(std::size_t backend) const {
    return backend < peers_.size() ? peers_[backend].share : 1;
  }
  Lowered why(std::size_t backend) const {
    return backend < peers_.size() ? peers_[backend].why : Lowered::no;
  }

 private:
  struct Peer {
    struct Kind {
      // Decayed.
      double answers = 0;
      double failures = 0;
      double timed = 0;
      double slowness = 0;
      // Shares that these faults leave it.
      double late = 1;
      double failing = 1;
    };
    std::array<Kind, answer_kinds> kinds{};
    // Since the last look at overloads.
    double answers = 0;
    double overloads = 0;
    double overloaded = 1;  // the share that this leaves it
    double share = 1;
    Lowered why = Lowered::no;
  };

  void judge(AnswerKind kind, Duration passed, BackendMask among);
  void judge_overloads(BackendMask among);
  void settle(BackendMask among);

  Peer& peer(std::size_t backend);

  std::vector<Peer> peers_;  // as many as were met; a cluster has few, and there are many clusters
  Duration since_overloads_{};
};

}  // namespace sluice::balance
