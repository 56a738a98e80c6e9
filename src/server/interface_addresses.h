// SPDX-License-Identifier: GPL-3.0-or-later
// Which addresses this machine has. Asked without netlink, which the service unit does not allow.
#pragma once

#include <string_view>
#include <vector>

#include "sluice/io/address.h"

namespace sluice::server {

// Of all interfaces, without ports; fewer, or none, where the system does not say.
std::vector<io::Address> interface_addresses();

// Those of /proc/net/if_inet6 (net/ipv6/addrconf.c: an address in 32 hexadecimal digits begins each
// line); what is none is passed over.
std::vector<io::Address> parse_if_inet6(std::string_view text);

}  // namespace sluice::server
