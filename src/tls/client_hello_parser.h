// SPDX-License-Identifier: GPL-3.0-or-later
// The parts of a ClientHello that we look at before the library does.
#pragma once

#include <string_view>
#include <vector>

#include "sluice/tls/client_hello.h"

namespace sluice::tls {

// The first of `ours` that the client offers by ALPN; empty when it offers none of them, or when
// `bytes` is not a complete ClientHello.
std::string_view first_offered_protocol(Bytes bytes, const std::vector<std::string>& ours);

}  // namespace sluice::tls
