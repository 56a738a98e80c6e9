// SPDX-License-Identifier: GPL-3.0-or-later
// Follows the EndpointSlices of one Service: list, watch, and when the watch ends, however it ends,
// list again, which every few minutes finds whatever was missed. Failures are told and tried again,
// at longer and longer intervals; nothing that fails changes what was known. Whom to ask, and as
// whom, somebody else knows (SliceServers).
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

#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/http/fields.h"
#include "sluice/io/address.h"
#include "sluice/net/transport.h"
#include "sluice/tls/context.h"

namespace sluice::discovery {

// What is asked for.
struct SliceQuestion {
  std::string path;  // before those of the API
  std::string name_space;
  std::string service;
  std::string port_name;   // empty: the Service's only one
  std::string slice = "";  // of this name alone; empty: all of the Service
  // Where somebody may make events come as he likes: they are not looked at, and each makes it list
  // again, so long after it. Zero: they are taken as they come.
  Duration pace{};
};

// Who is asked, each time anew. Outlives the watch.
class SliceServers {
 public:
  struct Server {
    io::Address address;
    std::string name;  // what its certificate must carry
    std::shared_ptr<const tls::ClientContext> tls;
  };
  virtual ~SliceServers() = default;
  // Nothing: nobody is known now. `turn` grows each time that one has failed.
  virtual std::optional<Server> server(std::size_t turn) = 0;
  // Adds to a request who we are.
  virtual void identify(http::Fields& fields) const = 0;
};

class SliceWatch {
 public:
  // A complete set, each time that there is one; or why there is none.
  using OnResult = std::function<void(Result<std::vector<io::Address>> result)>;

  SliceWatch(net::Transport& transport, SliceServers& servers, SliceQuestion question,
             std::uint64_t seed, OnResult on_result);
  ~SliceWatch();  // CHECKs terminated()

  // To be called a few times a second.
  void tick();

  void terminate();
  bool terminated() const;

 private:
  class Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace sluice::discovery
