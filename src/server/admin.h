// SPDX-License-Identifier: GPL-3.0-or-later
// The admin listener: HTTP/1.1 without TLS, for the operator's own network (loopback by default).
// GET only; what there is to get is admin_pages.h. Runs on the control thread, apart from the data
// path; at most a few connections at once. Each has a deadline until it is answered, and then a
// bound on how long its reader may take nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/io/reactor.h"
#include "sluice/net/transport.h"

namespace sluice::server {

struct AdminReply {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

class Admin {
 public:
  // Called once, now or later; who has left by then hears nothing of it.
  using Answer = std::move_only_function<void(const AdminReply& reply)>;
  // Asked for a GET of `path` (without query).
  using Handler = std::function<void(std::string_view path, Answer answer)>;

  static Result<std::unique_ptr<Admin>> create(io::Reactor& reactor, const io::Address& address,
                                               Handler handler);
  // On a listening socket, which it takes over; accepts from start() on.
  static std::unique_ptr<Admin> adopt(io::Reactor& reactor, int listener, Handler handler);
  ~Admin();

  void start();
  // Accepts no more, and closes the socket; whoever is connected is answered.
  void leave();
  io::Address address() const;                // as bound, for port 0
  int listener() const { return listener_; }  // -1: it has left
  void stop();
  bool stopped() const;

 private:
  class Connection;
  Admin(io::Reactor& reactor, int listener, Handler handler);
  void accepted(const io::Completion& completion);
  void admit(int descriptor);
  void finish_leaving();
  void retry_accept();
  void closed(const Connection& connection);

  io::Reactor& reactor_;
  net::Transport transport_;
  int listener_;
  Handler handler_;
  io::Operation accept_;
  io::Timer retry_;
  bool leaving_ = false;
  bool stopping_ = false;
  std::vector<std::shared_ptr<Connection>> connections_;
};

}  // namespace sluice::server
