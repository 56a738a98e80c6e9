// SPDX-License-Identifier: GPL-3.0-or-later
// Fields that end at a hop and are never forwarded (RFC 9110 section 7.6.1, RFC 9113
// section 8.2.2).
#pragma once

#include "sluice/http/fields.h"

namespace sluice::http {

// True for connection, keep-alive, proxy-connection, te, transfer-encoding and upgrade.
bool is_connection_field(std::string_view name);

// Drops the fields of is_connection_field and every field that a Connection field nominates. Must
// run before any field of our own is added, so that nobody can nominate ours away.
void remove_connection_fields(Fields& fields);

}  // namespace sluice::http
