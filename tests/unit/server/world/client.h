// SPDX-License-Identifier: GPL-3.0-or-later
// A client of a world: it asks over one HTTP/2 connection, opens another when that one ends or is
// told to go, and notes what it sees in the Ask. With HTTP/1.1 it opens one whenever all are busy.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "ask.h"
#include "link.h"
#include "schedule.h"

namespace sluice::server {

class WorldClient {
 public:
  using ChooseAddress = std::function<io::Address()>;
  WorldClient(net::Transport& transport, std::shared_ptr<const tls::ClientContext> tls,
              ChooseAddress choose, bool http1);
  ~WorldClient();  // its connections are closed

  void ask(Ask& ask);
  // The connection goes, with all that is asked on it.
  void drop();
  // Nothing is read for so long.
  void pause(Duration duration);
  // No more is asked: connections close when nothing is left on them.
  void finish();
  void terminate();

 private:
  WorldLink& link();

  Schedule schedule_;
  bool finishing_ = false;
  const LinkParts parts_;
  const bool http1_;
  std::vector<std::unique_ptr<WorldLink>> links_;
};

}  // namespace sluice::server
