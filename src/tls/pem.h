// SPDX-License-Identifier: GPL-3.0-or-later
// PEM (RFC 7468) to DER for certificates. Text between the blocks is ignored, as everyone does.
#pragma once

#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"

namespace sluice::tls {

using Der = std::vector<std::uint8_t>;

// All certificates in order; at least one, or an error.
Result<std::vector<Der>> certificates_of_pem(std::string_view pem);

}  // namespace sluice::tls
