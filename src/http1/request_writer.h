// SPDX-License-Identifier: GPL-3.0-or-later
// A request that asks to switch protocols, as the bytes of HTTP/1.1.
#pragma once

#include <string>

#include "sluice/http/message.h"

namespace sluice::http1 {

// Appends the head to `out`: from the parsed form alone, our own lines first and the fields in
// their order behind them, so that what was added last stays last. Fields that end at a hop are
// ours to say, and left out. False, and nothing was written, when any part of it could be read as
// something else than it is, or when it is not said how long the body is.
bool append_upgrade_request(const http::RequestHead& head, bool has_body, std::string& out);

}  // namespace sluice::http1
