// SPDX-License-Identifier: GPL-3.0-or-later
// Authorities: whom a request names in its Host field, its `:authority` or its target (RFC 9110
// section 7.2).
#pragma once

#include <string_view>

namespace sluice::http {

// uri-host [ ":" port ], loosely: no byte that means something elsewhere, no user.
bool is_authority(std::string_view text);

// An authority without its port: a name, an IPv4 address, or an IPv6 address in brackets.
std::string_view host_of(std::string_view authority);

// RFC 3986 sections 6.2.2.1 and 6.2.3: case does not count, nor does the scheme's own port.
bool same_authority(std::string_view a, std::string_view b, std::string_view usual_port);

}  // namespace sluice::http
