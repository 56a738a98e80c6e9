// SPDX-License-Identifier: GPL-3.0-or-later
// A client of a world: it asks over one HTTP/2 connection, opens another when that one ends or is
// told to go, and notes what it sees in the Ask.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "ask.h"
#include "schedule.h"
#include "sluice/http2/session.h"
#include "sluice/net/connection.h"
#include "sluice/tls/context.h"

namespace sluice::server {

class WorldClient {
 public:
  using ChooseAddress = std::function<io::Address()>;
  WorldClient(net::Transport& transport, std::shared_ptr<const tls::ClientContext> tls,
              ChooseAddress choose);
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
  class Link;
  Link& link();

  net::Transport& transport_;
  std::shared_ptr<const tls::ClientContext> tls_;
  ChooseAddress choose_;
  Schedule schedule_;
  bool finishing_ = false;
  std::vector<std::unique_ptr<Link>> links_;
};

}  // namespace sluice::server
