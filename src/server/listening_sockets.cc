// SPDX-License-Identifier: GPL-3.0-or-later
// Bound and inherited sockets, and whose they are.
#include "listening_sockets.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"

namespace sluice::server {
namespace {

// Whether IPv4 clients of this port have a listener of their own.
bool beside_ipv4(const io::Address& address, const std::vector<io::Address>& all) {
  return std::ranges::any_of(all, [&](const io::Address& other) {
    return other.family() == AF_INET && other.port() == address.port();
  });
}

// Port 0 was chosen by the system when the socket was bound.
bool same(const io::Address& wanted, const io::Address& bound) {
  return wanted == bound || (wanted.port() == 0 && wanted.host() == bound.host());
}

std::vector<OwnedDescriptor> take_those_of(const io::Address& address,
                                           std::vector<InheritedSocket>& inherited) {
  std::vector<OwnedDescriptor> taken;
  for (InheritedSocket& socket : inherited) {
    if (same(address, socket.address)) taken.push_back(std::move(socket.descriptor));
  }
  std::erase_if(inherited, [](const InheritedSocket& s) { return s.descriptor.get() < 0; });
  return taken;
}

}  // namespace

std::vector<std::vector<std::size_t>> ListeningSockets::assign(std::size_t sockets,
                                                               std::size_t workers) {
  CHECK(sockets > 0 && workers > 0);
  std::vector<std::vector<std::size_t>> by_worker(workers);
  for (std::size_t i = 0; i < std::max(sockets, workers); ++i) {
    by_worker[i % workers].push_back(i % sockets);
  }
  return by_worker;
}

Result<ListeningSockets> ListeningSockets::create(const std::vector<io::Address>& listen,
                                                  std::size_t workers,
                                                  std::vector<InheritedSocket> inherited,
                                                  bool in_use) {
  ListeningSockets made;
  made.by_worker_.resize(workers);
  for (const io::Address& address : listen) {
    std::vector<OwnedDescriptor> given = take_those_of(address, inherited);
    Result<void> ready = given.empty() ? made.bind(address, beside_ipv4(address, listen))
                                       : made.share(std::move(given), in_use);
    if (!ready) return std::unexpected(ready.error());
  }
  if (inherited.empty()) return made;
  return fail(ErrorKind::invalid_argument,
              "a socket that listens on " + inherited.front().address.to_string() +
                  " was inherited, and neither --listen nor --admin-listen names that address; who "
                  "connects there would wait for ever (an address is given up by a restart)");
}

Result<void> ListeningSockets::bind(const io::Address& address, bool v6_only) {
  for (std::vector<WorkerSocket>& its : by_worker_) {
    auto descriptor = io::listen_on(address, {.v6_only = v6_only});
    if (!descriptor) return std::unexpected(descriptor.error());
    all_.push_back(*descriptor);
    its.push_back({.descriptor = OwnedDescriptor(*descriptor)});
  }
  return {};
}

Result<void> ListeningSockets::share(std::vector<OwnedDescriptor> sockets, bool in_use) {
  const bool several = sockets.size() < by_worker_.size();
  for (const OwnedDescriptor& socket : sockets) all_.push_back(socket.get());
  const auto assigned = assign(sockets.size(), by_worker_.size());
  std::vector<bool> given(sockets.size(), false);
  for (std::size_t worker = 0; worker < assigned.size(); ++worker) {
    for (const std::size_t index : assigned[worker]) {
      // The first has the descriptor itself.
      OwnedDescriptor descriptor =
          given[index] ? OwnedDescriptor(::fcntl(all_[all_.size() - sockets.size() + index],
                                                 F_DUPFD_CLOEXEC, 0))
                       : std::move(sockets[index]);
      if (descriptor.get() < 0) return fail_errno("a listening socket cannot be shared", errno);
      given[index] = true;
      by_worker_[worker].push_back({std::move(descriptor), several, in_use});
    }
  }
  return {};
}

std::vector<WorkerSocket> ListeningSockets::take(std::size_t worker) {
  return std::exchange(by_worker_.at(worker), {});
}

}  // namespace sluice::server
