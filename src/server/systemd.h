// SPDX-License-Identifier: GPL-3.0-or-later
// What the service manager is told (sd_notify(3)): ready, stopping, alive. Without a service
// manager nothing happens.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "sluice/base/time.h"

namespace sluice::server {

// A whole number in decimal digits; nothing when it is none, or null.
std::optional<long long> number(const char* text);

// One datagram to $NOTIFY_SOCKET. False: it was not taken.
bool notify_service_manager(std::string_view state);

// Whether the service manager has seen to all that it was told before (sd_notify_barrier(3)).
class NotifyBarrier {
 public:
  virtual ~NotifyBarrier() = default;
  virtual bool passed() = 0;
};
// Null: there is no service manager, or it cannot be asked.
std::unique_ptr<NotifyBarrier> notify_barrier();

// How often "WATCHDOG=1" is wanted ($WATCHDOG_USEC, for this process); nothing when it is not.
std::optional<Duration> watchdog_interval();

}  // namespace sluice::server
