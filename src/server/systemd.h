// SPDX-License-Identifier: GPL-3.0-or-later
// What the service manager is told (sd_notify(3)): ready, stopping, alive. Without a service
// manager nothing happens.
#pragma once

#include <optional>
#include <string_view>

#include "sluice/base/time.h"

namespace sluice::server {

// One datagram to $NOTIFY_SOCKET; failures are ignored.
void notify_service_manager(std::string_view state);

// How often "WATCHDOG=1" is wanted ($WATCHDOG_USEC, for this process); nothing when it is not.
std::optional<Duration> watchdog_interval();

}  // namespace sluice::server
