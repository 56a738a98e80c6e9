// SPDX-License-Identifier: GPL-3.0-or-later
// Which sockets listen, and which worker accepts on which. An address that no inherited socket has
// is bound, once for each worker. What was inherited is used as it is, and never bound a second
// time: each of its sockets is some worker's, or its backlog would be stranded; where there are
// fewer than workers, several accept on one.
//
// Thread: the control thread's.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/io/address.h"
#include "sluice/server/process_start.h"

namespace sluice::server {

struct WorkerSocket {
  OwnedDescriptor descriptor;
  bool shared = false;  // other workers accept on it, too
  bool in_use = false;  // and so does the process before, for a while
};

class ListeningSockets {
 public:
  // Who accepts on which of an address's sockets, for each worker. Pure.
  static std::vector<std::vector<std::size_t>> assign(std::size_t sockets, std::size_t workers);

  // `in_use`: the process that they are inherited from accepts on them still. The error names an
  // address that cannot be bound, or one that was inherited and that nobody asked for.
  static Result<ListeningSockets> create(const std::vector<io::Address>& listen,
                                         std::size_t workers,
                                         std::vector<InheritedSocket> inherited, bool in_use);

  // A worker's; it takes them over.
  std::vector<WorkerSocket> take(std::size_t worker);
  // Each socket once, by a descriptor that is valid until its worker drains or stops.
  const std::vector<int>& all() const { return all_; }

 private:
  Result<void> bind(const io::Address& address, bool v6_only);
  Result<void> share(std::vector<OwnedDescriptor> sockets, bool in_use);

  std::vector<std::vector<WorkerSocket>> by_worker_;
  std::vector<int> all_;
};

}  // namespace sluice::server
