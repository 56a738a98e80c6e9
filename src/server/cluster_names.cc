// SPDX-License-Identifier: GPL-3.0-or-later
// Which cluster a client is of.
#include "cluster_names.h"

#include "sluice/http/authority.h"

namespace sluice::server {

std::string_view to_string(OtherClients others) {
  switch (others) {
    case OtherClients::none: return "none";
    case OtherClients::unnamed: return "unnamed";
    case OtherClients::all: return "all";
  }
  return "unknown";
}

ClusterNames::ClusterNames(const ServerOptions& options) {
  for (std::size_t i = 0; i < options.clusters.size(); ++i) add(i, options.clusters[i]);
  for (const std::string& name : options.reserved_names) reserve(name);
}

void ClusterNames::add(std::size_t number, const ClusterOptions& cluster) {
  for (const std::string& name : cluster.server_names) {
    names_.claim(name, static_cast<tls::ServerNames::Owner>(number));
  }
  // There is one default: the first keeps it.
  if (cluster.others == OtherClients::none || unnamed_) return;
  unnamed_ = number;
  if (cluster.others == OtherClients::all) unknown_ = number;
}

std::optional<std::size_t> ClusterNames::of_hello(std::string_view server_name) const {
  if (server_name.empty()) return unnamed_;
  const auto owner = names_.find(server_name);
  if (!owner) return unknown_;
  if (*owner == tls::ServerNames::nobody) return std::nullopt;
  return *owner;
}

bool ClusterNames::elsewhere(std::string_view authority, std::size_t cluster) const {
  const auto owner = names_.find(http::host_of(authority));
  return owner && *owner != cluster;
}

}  // namespace sluice::server
