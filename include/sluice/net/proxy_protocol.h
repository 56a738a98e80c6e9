// SPDX-License-Identifier: GPL-3.0-or-later
// The header with which a balancer begins a connection, to say for whom it has opened it: the PROXY
// protocol, versions 1 and 2. Sections are those of its specification (haproxy.org,
// doc/proxy-protocol.txt, revision of 2020). Pure: bytes in, a header out. Of whom it is believed
// is the connection's matter (section 5).
//
//   version 1 (section 2.1)  "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", or TCP6, or UNKNOWN
//   version 2 (section 2.2)  signature, version and command, family and protocol, length;
//                            addresses, then values with types and lengths (2.2.1 to 2.2.8)
//
// Addresses of other protocols than TCP count like none: section 2.2 asks for that. Of the typed
// values the checksum (section 2.2.3) and the authority (2.2.2) are looked at; the others must have
// the form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/io/address.h"

namespace sluice::net {

constexpr std::size_t proxy_line_bytes_max = 107;    // version 1, CRLF included
constexpr std::size_t proxy_block_bytes_max = 2048;  // version 2, behind its first 16 bytes

struct ProxyHeader {
  enum class Status : std::uint8_t {
    complete,
    incomplete,  // more bytes are needed
    invalid,     // `why`; no more bytes can mend it
  };
  Status status = Status::incomplete;
  std::size_t bytes = 0;  // complete: its own; what comes behind them is the client's
  // The client's address. None: the balancer names nobody, so that the connection's own addresses
  // count; it may be asking whether we live, and say nothing more.
  std::optional<io::Address> source;
  // The server name that the client has asked for, as the balancer has it: any bytes, a view into
  // what was read. Empty: it does not say, or names no connection.
  std::string_view authority;
  std::string_view why;  // a few words; a constant
};

// `bytes`: everything received so far. Never `incomplete` once the larger of the bounds is there.
ProxyHeader read_proxy_header(Bytes bytes);

}  // namespace sluice::net
