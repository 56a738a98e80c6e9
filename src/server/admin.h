// SPDX-License-Identifier: GPL-3.0-or-later
// The admin listener: HTTP/1.1 without TLS, for the operator's own network (loopback by default).
// GET only: /metrics, /livez, /readyz, /backends. Runs on the control thread, apart from the data
// path; at most a few connections at once, each with a deadline.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/io/reactor.h"

namespace sluice::server {

struct AdminReply {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

class Admin {
 public:
  // Answers a GET of `path` (without query).
  using Handler = std::function<AdminReply(std::string_view path)>;

  static Result<std::unique_ptr<Admin>> create(io::Reactor& reactor, const io::Address& address,
                                               Handler handler);
  ~Admin();

  io::Address address() const;  // as bound, for port 0
  void stop();
  bool stopped() const;

 private:
  class Connection;
  Admin(io::Reactor& reactor, int listener, Handler handler);
  void accepted(const io::Completion& completion);
  void retry_accept();
  void reap();

  io::Reactor& reactor_;
  int listener_;
  Handler handler_;
  io::Operation accept_;
  io::Timer retry_;
  io::TurnEnd reap_;
  bool stopping_ = false;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace sluice::server
