// SPDX-License-Identifier: GPL-3.0-or-later
// SipHash-2-4 with 128 bits of output: names that nobody without the key can choose or recognise.
// Pure.
#pragma once

#include <string_view>

#include "sluice/proxy/client_keys.h"
#include "sluice/proxy/last_token.h"

namespace sluice::proxy {

TokenHash keyed_hash(const HashKey& key, std::string_view text);

}  // namespace sluice::proxy
