// SPDX-License-Identifier: GPL-3.0-or-later
// Which sockets listen, for whom, and which worker accepts on which. An address that no inherited
// socket has is bound, once for each worker. What was inherited is used as it is, and never bound a
// second time: each of its sockets is some worker's, or its backlog would be stranded; where there
// are fewer than workers, several accept on one.
//
// Thread: the control thread's.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/io/address.h"
#include "sluice/server/process_start.h"

namespace sluice::server {

struct WorkerSocket {
  OwnedDescriptor descriptor;
  bool shared = false;                 // other workers accept on it, too
  bool in_use = false;                 // and so does the process before, for a while
  std::optional<std::size_t> cluster;  // whose clients all are that come by it; none: anybody's
};

// Addresses that are one cluster's alone.
struct ClusterListen {
  std::size_t number;
  std::string name;
  std::vector<io::Address> addresses;
};

class ListeningSockets {
 public:
  struct Open {
    int descriptor;       // valid until its worker closes it
    io::Address address;  // as it was asked for
    bool of_cluster;
  };

  // Who accepts on which of an address's sockets, for each worker. Pure.
  static std::vector<std::vector<std::size_t>> assign(std::size_t sockets, std::size_t workers);

  // `in_use`: the process that they are inherited from accepts on them still. The error names an
  // address of the process that cannot be bound, or one that was inherited and that nobody asked
  // for. What a cluster cannot have costs it alone, and one that was a cluster's is closed.
  static Result<ListeningSockets> create(const std::vector<io::Address>& listen,
                                         const std::vector<ClusterListen>& clusters,
                                         std::size_t workers,
                                         std::vector<InheritedSocket> inherited, bool in_use);

  // A worker's; it takes them over.
  std::vector<WorkerSocket> take(std::size_t worker);
  // Each socket once.
  const std::vector<Open>& all() const { return all_; }

 private:
  // Those of one address.
  struct Made {
    std::vector<std::vector<WorkerSocket>> by_worker;
    std::vector<int> descriptors;  // each once
  };

  ListeningSockets(std::vector<InheritedSocket> inherited, std::size_t workers, bool in_use)
      : inherited_(std::move(inherited)), in_use_(in_use), by_worker_(workers) {}
  // Those whose port the system chooses, or the others.
  Result<void> open_all(const std::vector<io::Address>& listen, bool any_port);
  void open_all(const ClusterListen& cluster, bool any_port);
  Result<void> open(const io::Address& address, const std::vector<io::Address>& beside,
                    std::optional<std::size_t> cluster);
  Result<Made> bind(const io::Address& address, bool v6_only) const;
  Result<Made> share(std::vector<OwnedDescriptor> sockets) const;
  Result<void> judge_the_rest();

  std::vector<InheritedSocket> inherited_;  // that nobody has asked for yet
  bool in_use_;
  std::vector<std::vector<WorkerSocket>> by_worker_;
  std::vector<Open> all_;
};

}  // namespace sluice::server
