// SPDX-License-Identifier: GPL-3.0-or-later
// One question to DNS: both kinds of addresses of a name, over sockets that whoever has it polls.
// It has a channel of its own, so that it can be given up on its own, and the system's settings are
// those of the moment.
//
// Thread: one.
#pragma once

#include <poll.h>

#include <memory>
#include <optional>
#include <vector>

#include "sluice/base/time.h"
#include "sluice/discovery/resolver.h"

namespace sluice::discovery {

class DnsQuery {
 public:
  DnsQuery(const Question& question, Instant now);
  ~DnsQuery();
  DnsQuery(const DnsQuery&) = delete;
  DnsQuery& operator=(const DnsQuery&) = delete;

  // What it waits for.
  void append_sockets(std::vector<pollfd>& sockets) const;
  // At the latest then it wants to be driven.
  Duration wait_max(Instant now) const;
  // With those sockets on which something has happened; others' pass.
  void drive(const std::vector<pollfd>& sockets, Instant now);

  bool over() const;
  NameAnswer answer() const;

 private:
  struct Channel;
  void give_up(std::string_view why);

  const Instant deadline_;
  std::unique_ptr<Channel> channel_;
};

}  // namespace sluice::discovery
