// SPDX-License-Identifier: GPL-3.0-or-later
// Tries to connect to a target that refuses, less and less often, until it does not. Thread: the
// transport's.
#pragma once

#include <memory>

#include "pass_targets.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/net/tcp_connection.h"
#include "sluice/net/transport.h"

namespace sluice::server {

class TargetProbe final : private net::TcpHandler {
 public:
  TargetProbe(net::Transport& transport, PassTarget& target);
  ~TargetProbe() override;  // CHECKs stopped()

  // A connection to it has failed.
  void failed();
  // One has not: it is used again.
  void succeeded();

  // What it was about to find out is not known then.
  void stop();
  bool stopped() const { return !timer_.armed() && tcp_ == nullptr; }

 private:
  void connect();

  void on_connected() override;
  void on_receive(Bytes) override {}
  Fill on_fill(MutableBytes) override { return {}; }
  void on_end(const Error&) override {}
  void on_closed() override;

  net::Transport& transport_;
  PassTarget& target_;
  bool ours_ = false;  // we have found that it refuses
  Duration pause_{};
  std::unique_ptr<net::TcpConnection> tcp_;
  io::Timer timer_;
};

}  // namespace sluice::server
