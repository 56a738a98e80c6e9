// SPDX-License-Identifier: GPL-3.0-or-later
// Which cluster a client is of: by the server name of its ClientHello, which binds its connection
// for ever; and whether a request on it is meant for another cluster. Constant once it is made, so
// any thread may ask.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/server/options.h"
#include "sluice/tls/server_names.h"

namespace sluice::server {

class ClusterNames {
 public:
  ClusterNames() = default;
  // Clusters have the numbers of their places there.
  explicit ClusterNames(const ServerOptions& options);

  void add(std::size_t number, const ClusterOptions& cluster);
  // Nobody's, as long as somebody may turn out to have a right to it.
  void reserve(std::string_view name) { names_.claim(name, tls::ServerNames::nobody); }

  // The cluster's number; nothing when nobody serves this name, or may. `server_name`: any bytes,
  // and empty when there is none.
  std::optional<std::size_t> of_hello(std::string_view server_name) const;

  // Whether the authority of a request, in whatever spelling, is a name of another cluster than
  // this one, or of one that is not served for now (RFC 9110 section 15.5.20). A name of nobody is
  // everybody's: clients legitimately dial addresses, and names that only they know.
  bool elsewhere(std::string_view authority, std::size_t cluster) const;

 private:
  tls::ServerNames names_;
  std::optional<std::size_t> unnamed_;  // has clients without a name
  std::optional<std::size_t> unknown_;  // and with one that nobody has
};

}  // namespace sluice::server
