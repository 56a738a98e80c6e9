// SPDX-License-Identifier: GPL-3.0-or-later
// The other end of a connection under test, byte by byte.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/io/operation.h"
#include "sluice/io/reactor.h"
#include "sluice/io/socket.h"
#include "sluice/tls/engine.h"

namespace sluice::net {

// What a balancer forwards: bytes of its own first, then those of a TLS client. On the bare ring,
// so that each send is as the test wants it.
class Caller {
 public:
  Caller(io::Reactor& reactor, const io::Address& address)
      : reactor_(reactor),
        connect_(io::Operation::bind<&Caller::connected>(this)),
        send_(io::Operation::bind<&Caller::sent>(this)),
        receive_(io::Operation::bind<&Caller::got>(this)),
        descriptor_(io::open_stream(address.family()).value()) {
    reactor_.ring().connect(connect_, descriptor_, address);
  }
  ~Caller() { leave(); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  void send(std::string_view bytes) {
    to_send_ += bytes;
    send_on();
  }
  // The ClientHello is sent together with what was not sent yet.
  void begin_tls(const std::shared_ptr<const tls::ClientContext>& context) {
    engine_ = tls::Engine::client(context, "localhost").value();
    turn_tls();
  }
  void say(std::string_view plain) {
    std::vector<std::uint8_t> memory(tls::encrypted_record_bytes_max);
    tls::RecordBuffer buffer{memory.data(), 0, memory.size()};
    const MutableBytes place = engine_->begin_record(buffer);
    std::ranges::copy(plain, place.begin());
    ASSERT_TRUE(engine_->end_record(plain.size(), buffer));
    send(as_text({memory.data(), buffer.size}));
  }
  bool established() const { return engine_ && engine_->established(); }
  // Ends the connection in order.
  void leave() {
    if (descriptor_ < 0) return;
    reactor_.ring().cancel(receive_);
    while (receive_.in_flight() || send_.in_flight()) reactor_.turn(false);
    io::close_socket(std::exchange(descriptor_, -1));
  }

  std::string received;  // without TLS
  bool ended = false;

 private:
  void connected(const io::Completion& completion) {
    ASSERT_EQ(completion.result, 0);
    connected_ = true;
    reactor_.ring().receive(receive_, descriptor_);
    send_on();
  }
  void send_on() {
    if (!connected_ || ended || to_send_.empty() || send_.in_flight()) return;
    sending_ = std::exchange(to_send_, {});
    reactor_.ring().send(send_, descriptor_, as_bytes(sending_));
  }
  void sent(const io::Completion& completion) {
    if (completion.result <= 0) return;
    to_send_.insert(0, sending_.substr(static_cast<std::size_t>(completion.result)));
    send_on();
  }
  void got(const io::Completion& completion) {
    ended |= completion.result == 0 || completion.result == -ECONNRESET;
    if (completion.result <= 0) return;
    if (!engine_) {
      received += as_text(completion.bytes);
      return;
    }
    engine_->feed(completion.bytes);
    turn_tls();
    engine_->keep_input();
  }
  void turn_tls() {
    if (!engine_->established()) (void)engine_->handshake();
    while (engine_->pending_bytes() > 0) {
      std::vector<std::uint8_t> memory(tls::encrypted_record_bytes_max);
      tls::RecordBuffer buffer{memory.data(), 0, memory.size()};
      engine_->take_pending(buffer);
      to_send_ += as_text({memory.data(), buffer.size});
    }
    send_on();
  }

  io::Reactor& reactor_;
  std::string to_send_;
  std::string sending_;
  std::unique_ptr<tls::Engine> engine_;
  bool connected_ = false;
  io::Operation connect_;
  io::Operation send_;
  io::Operation receive_;
  int descriptor_;
};

}  // namespace sluice::net
