// SPDX-License-Identifier: GPL-3.0-or-later
// Under which names clients are told apart where something is shared between them. Names are hashes
// with a key of the process: nobody can choose to have another one's.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::proxy {

// Of the hash; drawn once in the process.
using HashKey = std::array<std::uint64_t, 2>;

// That of a cluster: what is known there of tokens and users says nothing of those of another one.
HashKey key_of_cluster(const HashKey& key, std::string_view cluster);

struct ClientKeys {
  std::uint64_t network = 0;  // where it comes from: all that is known before an identity is proven
  std::uint64_t user = 0;     // its certificate's user, at this network
  std::uint64_t connection = 0;
};

// What stands for where an IP address is: an IPv4 address alone, also when it is mapped into IPv6;
// the first 64 bits of an IPv6 address, within which one host can have any number (RFC 4291 section
// 2.5.4). As bytes; what is no address stands for itself.
std::string network_of(std::string_view address);

}  // namespace sluice::proxy
