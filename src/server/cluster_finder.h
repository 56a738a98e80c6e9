// SPDX-License-Identifier: GPL-3.0-or-later
// What a client's connection asks its worker before it has a cluster. Thread: the worker's.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "sluice/io/address.h"

namespace sluice::server {

struct ServedCluster;

// Where a client's connection comes from.
struct ClientOrigin {
  const io::Address& address;           // who calls: whom a balancer has named, if it was one
  std::optional<std::size_t> listener;  // the cluster whose listener has accepted it
};

class ClusterFinder {
 public:
  virtual ~ClusterFinder() = default;
  // Before anything is computed for it. False: nobody here serves who calls from there, whatever it
  // asks for; that is counted.
  virtual bool may_call(const ClientOrigin& origin) = 0;
  // Whose it is: the listener's, else by the server name that it asks for (any bytes; empty when
  // there is none). Null: nobody's, or not for a client from there. The cluster outlives the
  // connection.
  virtual ServedCluster* find(const ClientOrigin& origin, std::string_view server_name) = 0;
};

}  // namespace sluice::server
