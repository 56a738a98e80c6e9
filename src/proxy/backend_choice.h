// SPDX-License-Identifier: GPL-3.0-or-later
// Which backend a request goes to: what of the backends is usable, how loaded each is, and the
// choice among them. One per worker.
#pragma once

#include <array>
#include <optional>

#include "evidence.h"
#include "sluice/backend/backend_set.h"
#include "sluice/balance/load_board.h"
#include "sluice/balance/load_estimate.h"
#include "sluice/balance/picker.h"
#include "sluice/kubernetes/long_running.h"
#include "sluice/kubernetes/request_info.h"

namespace sluice::proxy {

backend::Stay stay_of(kubernetes::RequestClass request_class);

class BackendChoice {
 public:
  struct Question {
    backend::PoolKind kind;
    kubernetes::RequestClass request_class;
    const kubernetes::RequestInfo& info;
    balance::BackendMask tried = 0;
    // One of these, if any is usable, was not tried and has a place.
    balance::BackendMask preferred = 0;
    // Of a watch that goes on: these have just begun to run.
    balance::BackendMask young = 0;
  };
  struct Choice {
    std::size_t backend;
    balance::LoadLease load;  // counts from now on
  };

  // All outlive this.
  BackendChoice(backend::BackendSet& backends, balance::LoadBoard& board, std::size_t worker,
                const balance::PickerOptions& options, Random& random);

  void update(const balance::PickerOptions& options) { picker_.update(options); }

  // Nothing when each that is usable was tried.
  std::optional<Choice> choose(const Question& question, Instant now);
  // This one has said that it shuts down, and nobody else can have said it in its name.
  void note_drain(std::size_t backend, Instant now) { load_.note_drain(backend, now); }
  // What has come of a request there, which took so long.
  void note(std::size_t backend, balance::AnswerKind kind, Evidence evidence, Duration took);
  // Whether there is one that was not tried, should `leaving` be out of use.
  bool another(backend::PoolKind kind, balance::BackendMask tried, std::size_t leaving) const;

 private:
  balance::BackendMask usable(backend::PoolKind kind);
  balance::BackendMask draining(balance::BackendMask usable);

  backend::BackendSet& backends_;
  Random& random_;
  balance::Picker picker_;
  balance::WorkerLoad load_;
  balance::FixedLoadEstimate estimate_;
  std::array<balance::BackendMask, backend::pool_kinds> usable_before_;
  balance::BackendMask draining_before_ = 0;
};

}  // namespace sluice::proxy
