// SPDX-License-Identifier: GPL-3.0-or-later
// A stranger that begins TLS handshakes as fast as it can, at next to no cost of its own: it sends
// one ClientHello over and over, on so many connections at once, and closes each when it has been
// answered; from one address, or from several in turn. A thread of its own.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "http2_client.h"
#include "sluice/base/bytes.h"
#include "sluice/base/check.h"
#include "sluice/io/socket.h"
#include "sluice/tls/engine.h"

namespace sluice::test {

inline std::string client_hello(std::shared_ptr<const tls::ClientContext> tls,
                                std::string_view server_name = api_server_name) {
  const auto engine = tls::Engine::client(std::move(tls), server_name).value();
  engine->handshake();
  std::vector<std::uint8_t> memory(20'000);
  tls::RecordBuffer records{memory.data(), 0, memory.size()};
  engine->take_pending(records);
  return std::string(as_text({memory.data(), records.size}));
}

class HelloFlood {
 public:
  HelloFlood(const io::Address& to, const std::vector<std::string>& sources, std::size_t at_once,
             std::string hello)
      : to_(to),
        from_(addresses(sources)),
        hello_(std::move(hello)),
        sockets_(at_once, pollfd{-1, POLLIN, 0}),
        thread_([this] { run(); }) {}
  ~HelloFlood() {
    over_.store(true);
    thread_.join();
    for (const pollfd& socket : sockets_) {
      if (socket.fd >= 0) ::close(socket.fd);
    }
  }
  HelloFlood(const HelloFlood&) = delete;
  HelloFlood& operator=(const HelloFlood&) = delete;

  std::uint64_t begun() const { return begun_.load(); }
  std::uint64_t answered() const { return answered_.load(); }

 private:
  static std::vector<io::Address> addresses(const std::vector<std::string>& hosts) {
    std::vector<io::Address> all;
    for (const std::string& host : hosts) all.push_back(io::Address::parse(host + ":0").value());
    return all;
  }
  void run() {
    while (!over_.load()) {
      for (pollfd& socket : sockets_) {
        if (socket.fd < 0) begin(socket);
      }
      ::poll(sockets_.data(), sockets_.size(), 10);
      for (pollfd& socket : sockets_) {
        if (socket.fd >= 0 && socket.revents != 0) finish(socket);
      }
    }
  }
  // On loopback a connect is done at once, unless the backlog is full.
  void begin(pollfd& socket) {
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return;
    const io::Address& from = from_[begun_.load() % from_.size()];
    const int on = 1;
    ::setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    CHECK_EQ(::bind(descriptor, from.data(), from.size()), 0);
    io::reset_on_close(descriptor);  // or its ports would soon be used up
    (void)::connect(descriptor, to_.data(), to_.size());
    if (::send(descriptor, hello_.data(), hello_.size(), MSG_NOSIGNAL) < 0) {
      ::close(descriptor);
      return;
    }
    socket.fd = descriptor;
    begun_.fetch_add(1);
  }
  void finish(pollfd& socket) {
    char byte = 0;
    if (::recv(socket.fd, &byte, 1, MSG_DONTWAIT) > 0) answered_.fetch_add(1);
    ::close(socket.fd);
    socket.fd = -1;
  }

  const io::Address to_;
  const std::vector<io::Address> from_;
  const std::string hello_;
  std::vector<pollfd> sockets_;
  std::atomic<bool> over_{false};
  std::atomic<std::uint64_t> begun_{0};
  std::atomic<std::uint64_t> answered_{0};
  std::thread thread_;
};

}  // namespace sluice::test
