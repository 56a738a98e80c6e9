// SPDX-License-Identifier: GPL-3.0-or-later
// An IPv4 or IPv6 address with a port: a value. Names are not resolved here.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"

namespace sluice::io {

class Address {
 public:
  Address() = default;

  // "127.0.0.1:6443", "[::1]:6443"; a name, a missing or impossible port is an error that says so.
  static Result<Address> parse(std::string_view text);
  // An IPv4 address that is mapped into IPv6 (RFC 4291 section 2.5.5.2) becomes one of IPv4.
  static Address from_sockaddr(const sockaddr* address, socklen_t size);
  // 4 or 16 bytes, as they are on the wire; mapped addresses likewise.
  static Address from_ip(Bytes ip, std::uint16_t port);
  Address with_port(std::uint16_t port) const { return from_ip(ip(), port); }

  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const;
  int family() const { return storage_.ss_family; }
  std::uint16_t port() const;
  Bytes ip() const;  // as from_ip takes it; empty when there is none

  std::string host() const;       // without port and brackets
  std::string to_string() const;  // as parse takes it; "none" when empty

  friend bool operator==(const Address& a, const Address& b);

 private:
  sockaddr_storage storage_{};
};

}  // namespace sluice::io
