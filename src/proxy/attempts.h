// SPDX-License-Identifier: GPL-3.0-or-later
// To which backends a request was sent, and whether it may be sent once more. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sluice/balance/picker.h"
#include "sluice/base/check.h"
#include "sluice/base/error.h"
#include "sluice/kubernetes/long_running.h"
#include "sluice/proxy/local_reply.h"

namespace sluice::proxy {

// What became of a request that was to be sent to another backend.
enum class Outcome : std::uint8_t {
  travels,     // it is on its way
  answered,    // by ourselves: there is no backend for it
  impossible,  // it must not be sent again; nothing was done
};

class Attempts {
 public:
  // How often a request may be refused (GOAWAY, REFUSED_STREAM) before that counts as a try.
  static constexpr std::uint32_t refusals_max = 10;

  // Also one that was refused, and does not count.
  bool any() const { return backend_ != SIZE_MAX; }
  bool any_at(std::size_t backend) const {
    return backend_ == backend || (tried_ & balance::mask_of(backend)) != 0;
  }
  // The backend of the last try.
  std::size_t backend() const { return backend_; }
  std::uint32_t count() const { return count_; }
  balance::BackendMask tried() const { return tried_; }
  // Why the last one came to nothing.
  ReplyReason last_failure() const { return last_failure_; }

  void begin(std::size_t backend) {
    backend_ = backend;
    tried_ |= balance::mask_of(backend);
    ++count_;
  }
  void failed(ReplyReason why) { last_failure_ = why; }
  // A GOAWAY says nothing against the backend: it is no try, and the backend may be picked again.
  void refused() {
    CHECK(any());
    CHECK_GT(count_, 0U);
    if (refusals_ >= refusals_max) return;
    ++refusals_;
    --count_;
    tried_ &= ~balance::mask_of(backend_);
  }

  // It goes to another backend because of what an answer said of its server: once.
  bool moved() const { return moved_; }
  void move() { moved_ = true; }

  // `known`: what is known of the last try's execution. `whole`: the body can be sent again.
  bool may_go_on(Retry known, kubernetes::RequestClass request, bool whole,
                 std::uint32_t tries_max) const {
    if (known == Retry::never) return false;
    if (known == Retry::idempotent && !kubernetes::may_replay_when_lost(request)) return false;
    return whole && count_ < tries_max;
  }

 private:
  std::size_t backend_ = SIZE_MAX;
  balance::BackendMask tried_ = 0;
  std::uint32_t count_ = 0;
  std::uint32_t refusals_ = 0;
  ReplyReason last_failure_ = ReplyReason::no_backend;
  bool moved_ = false;
};

}  // namespace sluice::proxy
