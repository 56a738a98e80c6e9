// SPDX-License-Identifier: GPL-3.0-or-later
// Names of clients.
#include "sluice/proxy/client_keys.h"

#include <arpa/inet.h>

#include "keyed_hash.h"

namespace sluice::proxy {

HashKey key_of_cluster(const HashKey& key, std::string_view cluster) {
  const TokenHash hash = keyed_hash(key, "cluster\n" + std::string(cluster));
  return {hash.high, hash.low};
}

std::string network_of(std::string_view address) {
  const std::string text(address);
  in_addr four{};
  if (inet_pton(AF_INET, text.c_str(), &four) == 1) {
    return std::string(reinterpret_cast<const char*>(&four), sizeof four);
  }
  in6_addr six{};
  if (inet_pton(AF_INET6, text.c_str(), &six) != 1) return text;
  const char* bytes = reinterpret_cast<const char*>(&six);
  constexpr std::size_t mapped_at = 12;  // RFC 4291 section 2.5.5.2
  constexpr std::size_t network_bytes = 8;
  if (IN6_IS_ADDR_V4MAPPED(&six)) return std::string(bytes + mapped_at, sizeof four);
  return std::string(bytes, network_bytes);
}

}  // namespace sluice::proxy
