// SPDX-License-Identifier: GPL-3.0-or-later
// A TLS connection from a chosen address, and the loop that carries many of them in one thread. Of
// plain sockets and epoll, so that what generates load shares no I/O with the proxy that is
// measured, and wakes within microseconds of an instant.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "foreign_peer.h"
#include "sluice/io/address.h"
#include "sluice/tls/context.h"
#include "sluice/tls/engine.h"

namespace sluice::attack {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

class Pollable {
 public:
  virtual ~Pollable() = default;
  virtual void on_ready(std::uint32_t events) = 0;
};

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Waits until `until` at most. Nothing that is polled may be destroyed meanwhile.
  void turn(Clock::time_point until);
  void watch(int descriptor, Pollable& pollable, std::uint32_t events, bool known);

 private:
  int epoll_;
};

struct Destination {
  io::Address address;
  std::string source;                             // 127.0.0.2; empty: any
  std::shared_ptr<const tls::ClientContext> tls;  // null: no TLS
  bool foreign = false;                           // TLS of another library, without a certificate
  bool resets = false;                            // closes by a reset, and so keeps no port
};

class Call final : public Pollable {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void on_established() {}
    virtual void on_plain(Bytes) {}
    // At most once, and never from within send().
    virtual void on_end(std::string_view /*why*/) {}
  };
  Call(Loop& loop, const Destination& destination, Handler& handler);
  ~Call() override;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  bool established() const { return established_; }
  bool ended() const { return ended_; }
  // Queues; only once it is established.
  void send(std::string_view plain);
  void send_key_update();                  // of another library alone
  void send_wire(std::string_view bytes);  // past TLS
  std::size_t unsent_bytes() const { return out_.size() - out_sent_; }
  // From now on nothing is taken out of the socket.
  void stop_reading();
  void flush();

 private:
  void on_ready(std::uint32_t events) override;
  void receive();
  void process(Bytes bytes);
  void process_foreign(Bytes bytes);
  void take_pending();
  void become_established();
  void end(std::string_view why);
  void poll_for_what_is_due();

  Loop& loop_;
  Handler& handler_;
  int descriptor_ = -1;
  std::uint32_t polled_ = 0;
  std::unique_ptr<tls::Engine> engine_;
  std::unique_ptr<tls::testing::ForeignPeer> foreign_;
  std::size_t foreign_read_ = 0;
  bool connected_ = false;
  bool established_ = false;
  bool ended_ = false;
  bool reads_ = true;
  std::string out_;
  std::size_t out_sent_ = 0;
};

}  // namespace sluice::attack
