// SPDX-License-Identifier: GPL-3.0-or-later
// Follows the EndpointSlices of one Service: list, watch, and when the watch ends, however it ends,
// list again, which every few minutes finds whatever was missed. Failures are told and tried again,
// at longer and longer intervals; nothing that fails changes what was known.
//
//   waiting ──▶ listing ──▶ watching
//      ▲           │           │
//      └───────────┴───────────┘
//
// Thread: the transport's. Time comes by tick().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sluice/base/random.h"
#include "sluice/discovery/name_state.h"
#include "sluice/discovery/sources.h"
#include "sluice/net/transport.h"
#include "sluice/tls/context.h"

namespace sluice::discovery {

class SliceWatch {
 public:
  // A complete set, each time that there is one; or why there is none.
  using OnResult = std::function<void(Result<std::vector<io::Address>> result)>;

  SliceWatch(net::Transport& transport, const SliceOptions& options,
             std::shared_ptr<const tls::ClientContext> tls, std::uint64_t seed, OnResult on_result);
  ~SliceWatch();  // CHECKs terminated()

  // To be called a few times a second.
  void tick();
  // The server's name, when it has to be asked for now; once, until it is answered.
  std::optional<std::string> due_name();
  void answered(const NameAnswer& answer);

  void terminate();
  bool terminated() const;

 private:
  class Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace sluice::discovery
