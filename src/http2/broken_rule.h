// SPDX-License-Identifier: GPL-3.0-or-later
// Says in a sentence which rule a field of a request breaks, for the client that sent it. The codec
// has found that it breaks one; which one follows from the field's name.
#pragma once

#include <string>
#include <string_view>

namespace sluice::http2 {

// Never holds a value: it may be a secret.
std::string broken_rule(std::string_view name);

}  // namespace sluice::http2
