// SPDX-License-Identifier: GPL-3.0-or-later
// Bound and inherited sockets, and whose they are.
#include "listening_sockets.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

// Whether IPv4 clients of this port have a listener of their own.
bool beside_ipv4(const io::Address& address, const std::vector<io::Address>& all) {
  return std::ranges::any_of(all, [&](const io::Address& other) {
    return other.family() == AF_INET && other.port() == address.port();
  });
}

// Port 0 was chosen by the system when the socket was bound: any of its kind that is left.
bool is_for(const io::Address& wanted, bool cluster, const InheritedSocket& socket) {
  if (wanted.port() != 0) return wanted == socket.address;
  return cluster == socket.of_cluster && wanted.host() == socket.address.host();
}

std::vector<OwnedDescriptor> take_those_of(const io::Address& address, bool cluster,
                                           std::vector<InheritedSocket>& inherited) {
  std::vector<OwnedDescriptor> taken;
  for (InheritedSocket& socket : inherited) {
    if (is_for(address, cluster, socket)) taken.push_back(std::move(socket.descriptor));
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
                                                  const std::vector<ClusterListen>& clusters,
                                                  std::size_t workers,
                                                  std::vector<InheritedSocket> inherited,
                                                  bool in_use) {
  ListeningSockets made(std::move(inherited), workers, in_use);
  for (const bool any_port : {false, true}) {
    if (auto opened = made.open_all(listen, any_port); !opened) {
      return std::unexpected(opened.error());
    }
    for (const ClusterListen& cluster : clusters) made.open_all(cluster, any_port);
  }
  if (auto judged = made.judge_the_rest(); !judged) return std::unexpected(judged.error());
  return made;
}

Result<void> ListeningSockets::open_all(const std::vector<io::Address>& listen, bool any_port) {
  for (const io::Address& address : listen) {
    if ((address.port() == 0) != any_port) continue;
    if (auto opened = open(address, listen, {}); !opened) return opened;
  }
  return {};
}

void ListeningSockets::open_all(const ClusterListen& cluster, bool any_port) {
  for (const io::Address& address : cluster.addresses) {
    if ((address.port() == 0) != any_port) continue;
    const auto opened = open(address, cluster.addresses, cluster.number);
    if (opened) continue;
    log::error("a cluster's address cannot be listened on",
               {{"cluster", cluster.name}, {"why", opened.error().context}});
  }
}

Result<void> ListeningSockets::open(const io::Address& address,
                                    const std::vector<io::Address>& beside,
                                    std::optional<std::size_t> cluster) {
  std::vector<OwnedDescriptor> given = take_those_of(address, cluster.has_value(), inherited_);
  auto made = given.empty() ? bind(address, beside_ipv4(address, beside)) : share(std::move(given));
  if (!made) return std::unexpected(made.error());
  for (std::size_t worker = 0; worker < by_worker_.size(); ++worker) {
    for (WorkerSocket& socket : made->by_worker[worker]) {
      socket.cluster = cluster;
      by_worker_[worker].push_back(std::move(socket));
    }
  }
  for (const int descriptor : made->descriptors) {
    all_.push_back({descriptor, address, cluster.has_value()});
  }
  return {};
}

Result<ListeningSockets::Made> ListeningSockets::bind(const io::Address& address,
                                                      bool v6_only) const {
  Made made;
  made.by_worker.resize(by_worker_.size());
  for (std::vector<WorkerSocket>& its : made.by_worker) {
    auto descriptor = io::listen_on(address, {.v6_only = v6_only});
    if (!descriptor) return std::unexpected(descriptor.error());
    made.descriptors.push_back(*descriptor);
    its.push_back({.descriptor = OwnedDescriptor(*descriptor), .cluster = {}});
  }
  return made;
}

Result<ListeningSockets::Made> ListeningSockets::share(std::vector<OwnedDescriptor> sockets) const {
  Made made;
  made.by_worker.resize(by_worker_.size());
  for (const OwnedDescriptor& socket : sockets) made.descriptors.push_back(socket.get());
  const bool several = sockets.size() < by_worker_.size();
  const auto assigned = assign(sockets.size(), by_worker_.size());
  std::vector<bool> given(sockets.size(), false);
  for (std::size_t worker = 0; worker < assigned.size(); ++worker) {
    for (const std::size_t index : assigned[worker]) {
      // The first has the descriptor itself.
      OwnedDescriptor descriptor =
          given[index] ? OwnedDescriptor(::fcntl(made.descriptors[index], F_DUPFD_CLOEXEC, 0))
                       : std::move(sockets[index]);
      if (descriptor.get() < 0) return fail_errno("a listening socket cannot be shared", errno);
      given[index] = true;
      made.by_worker[worker].push_back({std::move(descriptor), several, in_use_, {}});
    }
  }
  return made;
}

Result<void> ListeningSockets::judge_the_rest() {
  for (const InheritedSocket& socket : std::exchange(inherited_, {})) {
    if (!socket.of_cluster) {
      return fail(ErrorKind::invalid_argument,
                  "a socket that listens on " + socket.address.to_string() +
                      " was inherited, and neither --listen, --admin-listen nor a cluster's listen "
                      "names that address; who connects there would wait for ever (an address is "
                      "given up by a restart)");
    }
    log::warning("no cluster listens on an address any more: its socket is closed",
                 {{"address", socket.address.to_string()}});
  }
  return {};
}

std::vector<WorkerSocket> ListeningSockets::take(std::size_t worker) {
  return std::exchange(by_worker_.at(worker), {});
}

}  // namespace sluice::server
