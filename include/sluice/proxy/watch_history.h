// SPDX-License-Identifier: GPL-3.0-or-later
// Watches that go on from where they were, and API servers that have just begun to run: those know
// nothing of what was before (k8s.io/apiserver pkg/storage/cacher), answer 410, and the client
// lists everything again.
#pragma once

#include "sluice/base/time.h"

namespace sluice::proxy {

struct WatchHistoryOptions {
  // A backend that has run for less may have no history: the head of such a watch waits there for
  // the first event, and on a 410 the watch is sent to an older backend. Zero: never.
  Duration hold_age = std::chrono::minutes(15);
  Duration hold = std::chrono::milliseconds(200);
  // While a backend has run for less, such watches go to older ones, as long as these hold no more
  // than their share (balance/steering.h). Zero: never.
  Duration steer_age = std::chrono::minutes(3);

  friend bool operator==(const WatchHistoryOptions&, const WatchHistoryOptions&) = default;
};

}  // namespace sluice::proxy
