// SPDX-License-Identifier: GPL-3.0-or-later
// One connection of a client of a world, whichever HTTP it speaks.
#pragma once

#include <functional>
#include <memory>

#include "ask.h"
#include "schedule.h"
#include "sluice/net/connection.h"
#include "sluice/tls/context.h"

namespace sluice::server {

// What a connection needs of its client, which outlives it.
struct LinkParts {
  net::Transport& transport;
  std::shared_ptr<const tls::ClientContext> tls;
  std::function<io::Address()> choose;
  Schedule& schedule;
  const bool& finishing;
};

class WorldLink {
 public:
  virtual ~WorldLink() = default;

  // One more can be asked.
  virtual bool usable() const = 0;
  virtual bool closed() const = 0;
  virtual void ask(Ask& ask) = 0;
  // Nothing is read for so long.
  virtual void pause(Duration duration) = 0;
  // It takes no more, and closes when nothing is left on it.
  virtual void leave_when_done() = 0;
  virtual void terminate() = 0;
};

std::unique_ptr<WorldLink> make_http2_link(const LinkParts& parts);
// One request at a time.
std::unique_ptr<WorldLink> make_http1_link(const LinkParts& parts);

}  // namespace sluice::server
