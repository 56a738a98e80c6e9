// SPDX-License-Identifier: GPL-3.0-or-later
// Addresses as text and as the kernel's structures.
#include "sluice/io/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "sluice/base/check.h"
#include "sluice/base/quote.h"

namespace sluice::io {
namespace {

std::unexpected<Error> bad_address(std::string_view text, std::string_view reason) {
  return fail(ErrorKind::invalid_argument,
              fmt::format("{} is no address of the form 192.0.2.1:443 or [2001:db8::1]:443: {}",
                          quote(text), reason));
}

const sockaddr_in& as_v4(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in&>(storage);
}

const sockaddr_in6& as_v6(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in6&>(storage);
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad_address(text, "the port is missing");
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);

  std::uint32_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || digits.size() > 5 || error != std::errc() ||
      end != digits.data() + digits.size() || port > 65535) {
    return bad_address(text, "the port must be a number from 0 to 65535");
  }

  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!bracketed && host.find(':') != std::string_view::npos) {
    return bad_address(text, "an IPv6 address stands in brackets");
  }
  const std::string terminated(host);
  Address address;
  if (terminated.find('\0') != std::string::npos) {
    return bad_address(text, "it contains a NUL byte");
  }
  if (bracketed) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage_);
    if (::inet_pton(AF_INET6, terminated.c_str(), &v6.sin6_addr) != 1) {
      return bad_address(text, "what stands in brackets is no IPv6 address");
    }
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<std::uint16_t>(port));
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage_);
    if (::inet_pton(AF_INET, terminated.c_str(), &v4.sin_addr) != 1) {
      return bad_address(text, "the host is no IP address (names are not resolved here)");
    }
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<std::uint16_t>(port));
  }
  return address;
}

Address Address::from_sockaddr(const sockaddr* address, socklen_t size) {
  Address result;
  const bool v4 = size >= sizeof(sockaddr_in) && address->sa_family == AF_INET;
  const bool v6 = size >= sizeof(sockaddr_in6) && address->sa_family == AF_INET6;
  if (v4) std::memcpy(&result.storage_, address, sizeof(sockaddr_in));
  if (v6) std::memcpy(&result.storage_, address, sizeof(sockaddr_in6));
  if (v6 && IN6_IS_ADDR_V4MAPPED(&as_v6(result.storage_).sin6_addr)) {
    const sockaddr_in6 mapped = as_v6(result.storage_);
    result.storage_ = {};
    auto& plain = reinterpret_cast<sockaddr_in&>(result.storage_);
    plain.sin_family = AF_INET;
    plain.sin_port = mapped.sin6_port;
    std::memcpy(&plain.sin_addr, &mapped.sin6_addr.s6_addr[12], sizeof(plain.sin_addr));
  }
  return result;
}

Address Address::from_ip(Bytes ip, std::uint16_t port) {
  if (ip.size() == sizeof(in_addr)) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, ip.data(), ip.size());
    return from_sockaddr(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  }
  CHECK_EQ(ip.size(), sizeof(in6_addr));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, ip.data(), ip.size());
  return from_sockaddr(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

socklen_t Address::size() const {
  switch (family()) {
    case AF_INET: return sizeof(sockaddr_in);
    case AF_INET6: return sizeof(sockaddr_in6);
    default: return 0;
  }
}

std::uint16_t Address::port() const {
  switch (family()) {
    case AF_INET: return ntohs(as_v4(storage_).sin_port);
    case AF_INET6: return ntohs(as_v6(storage_).sin6_port);
    default: return 0;
  }
}

Bytes Address::ip() const {
  switch (family()) {
    case AF_INET:
      return {reinterpret_cast<const std::uint8_t*>(&as_v4(storage_).sin_addr), sizeof(in_addr)};
    case AF_INET6: return {as_v6(storage_).sin6_addr.s6_addr, sizeof(in6_addr)};
    default: return {};
  }
}

std::string Address::host() const {
  char text[INET6_ADDRSTRLEN] = {};
  switch (family()) {
    case AF_INET: (void)::inet_ntop(AF_INET, &as_v4(storage_).sin_addr, text, sizeof(text)); break;
    case AF_INET6:
      (void)::inet_ntop(AF_INET6, &as_v6(storage_).sin6_addr, text, sizeof(text));
      break;
    default: break;
  }
  return text;
}

std::string Address::to_string() const {
  switch (family()) {
    case AF_INET: return fmt::format("{}:{}", host(), port());
    case AF_INET6: return fmt::format("[{}]:{}", host(), port());
    default: return "none";
  }
}

bool operator==(const Address& a, const Address& b) {
  if (a.family() != b.family() || a.port() != b.port()) return false;
  switch (a.family()) {
    case AF_INET: return as_v4(a.storage_).sin_addr.s_addr == as_v4(b.storage_).sin_addr.s_addr;
    case AF_INET6:
      return as_v6(a.storage_).sin6_scope_id == as_v6(b.storage_).sin6_scope_id &&
             std::memcmp(&as_v6(a.storage_).sin6_addr, &as_v6(b.storage_).sin6_addr,
                         sizeof(in6_addr)) == 0;
    default: return true;
  }
}

}  // namespace sluice::io
