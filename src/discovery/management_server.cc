// SPDX-License-Identifier: GPL-3.0-or-later
// One server, and the addresses of its name.
#include "sluice/discovery/management_server.h"

#include <utility>

namespace sluice::discovery {

ManagementServer::ManagementServer(const SliceOptions& options,
                                   std::shared_ptr<const tls::ClientContext> tls)
    : place_(options.server),
      server_name_(options.server_name),
      token_(options.token),
      tls_(std::move(tls)) {}

std::optional<std::string> ManagementServer::due_name(Instant now) {
  const auto* target = std::get_if<Target>(&place_);
  if (target == nullptr || !name_.due(now)) return std::nullopt;
  name_.asked();
  return target->host;
}

Result<void> ManagementServer::answered(const NameAnswer& answer, Instant now) {
  name_.take(answer, now);
  if (!name_.addresses().empty()) return {};
  return fail(ErrorKind::unavailable, "its server's name: " + name_.error(), Side::backend);
}

std::optional<SliceServers::Server> ManagementServer::server(std::size_t turn) {
  if (const auto* address = std::get_if<io::Address>(&place_)) {
    return Server{*address, server_name_, tls_};
  }
  const auto& known = name_.addresses();
  if (known.empty()) return std::nullopt;
  const std::uint16_t port = std::get<Target>(place_).port;
  return Server{known[turn % known.size()].with_port(port), server_name_, tls_};
}

void ManagementServer::identify(http::Fields& fields) const {
  if (!token_.empty()) fields.add("authorization", "Bearer " + token_.text(), true);
}

}  // namespace sluice::discovery
