// SPDX-License-Identifier: GPL-3.0-or-later
// How much of the work each backend of a cluster should get: all the same, but for those that start
// (SlowStart) and those that do worse than their peers (PeerReview). Pure; one thread.
#pragma once

#include <span>
#include <vector>

#include "sluice/balance/answers.h"
#include "sluice/balance/peer_review.h"
#include "sluice/balance/picker.h"
#include "sluice/balance/slow_start.h"

namespace sluice::balance {

struct SharesOptions {
  SlowStartOptions slow_start;
  bool review = true;  // who does worse than others gets less

  friend bool operator==(const SharesOptions&, const SharesOptions&) = default;
};

struct Share {
  float weight = 1;  // of a full share; more than 0
  Lowered why = Lowered::no;

  friend bool operator==(const Share&, const Share&) = default;
};

class Shares {
 public:
  enum class Use : std::uint8_t {
    none,    // there is no backend in this slot
    out,     // it is not used, and will start slowly when it is
    in_use,  // from now on; one that is so from the beginning has its full share at once
  };
  struct Backend {
    const void* who = nullptr;  // another one in the same slot is nobody that is known
    Use use = Use::none;
    Answers answers;  // sums over all workers, ever
  };

  // How things stand, by slot. To be called a few times a second, and when a use has changed.
  void update(const SharesOptions& options, Instant now, std::span<const Backend> backends);

  // Of the largest that one in use has.
  Share share(std::size_t backend) const {
    return backend < known_.size() ? known_[backend].share : Share{};
  }

 private:
  struct Known {
    const void* who = nullptr;
    Use use = Use::none;
    Answers answers;
    SlowStart start;
    double completed = 0;  // lately
    double weight = 0;
    Share share;
  };
  void meet(Known& known, std::size_t slot, const Backend& backend, const SharesOptions& options);
  void start_on(const SharesOptions& options, Duration passed, BackendMask in_use);

  Instant updated_at_{};
  std::vector<Known> known_;  // by slot
  PeerReview review_;
};

}  // namespace sluice::balance
