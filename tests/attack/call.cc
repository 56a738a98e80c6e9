// SPDX-License-Identifier: GPL-3.0-or-later
// Sockets, and the two TLS libraries over them.
#include "call.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"
#include "tls_record.h"

namespace sluice::attack {
namespace {

constexpr std::string_view server_name = "kubernetes.default.svc.cluster.local";
// Reads of one connection in a turn.
constexpr int reads_at_once = 4;

int open_socket(const Destination& destination) {
  const int descriptor =
      ::socket(destination.address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -1;
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (!destination.source.empty()) {
    const io::Address from = io::Address::parse(destination.source + ":0").value();
    // The port is chosen by connect: one that was used towards somebody else is free.
    ::setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    CHECK_EQ(::bind(descriptor, from.data(), from.size()), 0);
  }
  if (destination.resets) io::reset_on_close(descriptor);
  (void)::connect(descriptor, destination.address.data(), destination.address.size());
  return descriptor;
}

}  // namespace

Loop::Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) { CHECK(epoll_ >= 0); }
Loop::~Loop() { ::close(epoll_); }

void Loop::turn(Clock::time_point until) {
  const auto left = std::max<std::chrono::nanoseconds>(until - Clock::now(), 0ns);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  const timespec timeout{seconds.count(), (left - seconds).count()};
  std::array<epoll_event, 128> events;
  const int count =
      ::epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    static_cast<Pollable*>(event.data.ptr)->on_ready(event.events);
  }
}

void Loop::watch(int descriptor, Pollable& pollable, std::uint32_t events, bool known) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &pollable;
  CHECK_EQ(::epoll_ctl(epoll_, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event), 0);
}

Call::Call(Loop& loop, const Destination& destination, Handler& handler)
    : loop_(loop), handler_(handler), descriptor_(open_socket(destination)) {
  if (destination.foreign) {
    tls::testing::ForeignPeer::Options options;
    options.alpn = {"h2"};
    options.server_name = server_name;
    foreign_ = std::make_unique<tls::testing::ForeignPeer>(options);
  } else if (destination.tls != nullptr) {
    engine_ = tls::Engine::client(destination.tls, server_name).value();
  }
  if (descriptor_ < 0) {
    ended_ = true;
    return;
  }
  polled_ = EPOLLOUT;
  loop_.watch(descriptor_, *this, polled_, false);
}

Call::~Call() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void Call::end(std::string_view why) {
  if (ended_) return;
  ended_ = true;
  ::close(descriptor_);  // leaves epoll with it
  descriptor_ = -1;
  handler_.on_end(why);
}

void Call::on_ready(std::uint32_t events) {
  if (ended_) return;
  if (!connected_) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return end(std::strerror(error));
    connected_ = true;
    if (engine_ == nullptr && foreign_ == nullptr) {
      become_established();
    } else {
      process({});
    }
  } else if ((events & EPOLLIN) != 0 && reads_) {
    receive();
  } else if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    return end("reset");
  }
  if (!ended_) flush();
}

void Call::receive() {
  std::array<std::uint8_t, 65536> buffer;
  for (int i = 0; i < reads_at_once && !ended_; ++i) {
    const ssize_t got = ::recv(descriptor_, buffer.data(), buffer.size(), 0);
    if (got < 0) {
      if (errno != EAGAIN && errno != EINTR) end("reset");
      return;
    }
    if (got == 0) return end("closed");
    process(Bytes(buffer).first(static_cast<std::size_t>(got)));
    if (static_cast<std::size_t>(got) < buffer.size()) return;
  }
}

void Call::process(Bytes bytes) {
  if (foreign_ != nullptr) return process_foreign(bytes);
  if (engine_ == nullptr) return handler_.on_plain(bytes);
  using Status = tls::Engine::Status;
  if (!bytes.empty()) engine_->feed(bytes);
  if (!established_) {
    const Status status = engine_->handshake();
    take_pending();
    if (status == Status::failed) return end("handshake: " + engine_->error().context);
    if (status == Status::done) become_established();
  }
  while (established_ && !ended_) {
    const tls::Engine::ReadResult result = engine_->read();
    if (result.status == Status::closed) return end("close_notify");
    if (result.status == Status::failed) return end("TLS: " + engine_->error().context);
    if (result.status != Status::done) break;
    handler_.on_plain(result.plain);
  }
  if (ended_) return;
  take_pending();
  engine_->keep_input();
}

void Call::process_foreign(Bytes bytes) {
  out_ += as_text(foreign_->step(bytes));
  if (foreign_->failed()) return end("TLS");
  if (!established_ && foreign_->established()) become_established();
  const std::string& all = foreign_->received();
  if (all.size() > foreign_read_ && !ended_) {
    const std::size_t from = std::exchange(foreign_read_, all.size());
    handler_.on_plain(as_bytes(std::string_view(all).substr(from)));
  }
  if (!ended_ && foreign_->close_notify_received()) end("close_notify");
}

void Call::become_established() {
  established_ = true;
  handler_.on_established();
}

void Call::take_pending() {
  std::array<std::uint8_t, 32768> memory;
  while (engine_->pending_bytes() > 0) {
    tls::RecordBuffer buffer{memory.data(), 0, memory.size()};
    engine_->take_pending(buffer);
    if (buffer.size == 0) return;
    out_ += as_text({memory.data(), buffer.size});
  }
}

void Call::send(std::string_view plain) {
  if (ended_) return;
  CHECK(established_);
  if (foreign_ == nullptr && engine_ == nullptr) return send_wire(plain);
  std::array<std::uint8_t, 2 * tls::encrypted_record_bytes_max> memory;
  while (!plain.empty()) {
    const std::string_view piece = plain.substr(0, tls::plain_record_bytes_max);
    plain.remove_prefix(piece.size());
    if (foreign_ != nullptr) {
      out_ += as_text(foreign_->send(piece));
      continue;
    }
    take_pending();
    tls::RecordBuffer buffer{memory.data(), 0, memory.size()};
    if (!test::write_record(*engine_, as_bytes(piece), buffer)) return;
    out_ += as_text({memory.data(), buffer.size});
  }
}

void Call::send_key_update() { out_ += as_text(foreign_->key_update(true)); }
void Call::send_wire(std::string_view bytes) { out_ += bytes; }

void Call::stop_reading() {
  reads_ = false;
  if (!ended_) poll_for_what_is_due();
}

void Call::flush() {
  if (ended_ || !connected_) return;
  while (unsent_bytes() > 0) {
    const ssize_t sent =
        ::send(descriptor_, out_.data() + out_sent_, unsent_bytes(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      // The end is told by epoll, never from within a call of the owner.
      if (errno == EAGAIN || errno == EINTR) break;
      out_sent_ = out_.size();
      break;
    }
    out_sent_ += static_cast<std::size_t>(sent);
  }
  if (unsent_bytes() == 0) {
    out_.clear();
    out_sent_ = 0;
  }
  poll_for_what_is_due();
}

void Call::poll_for_what_is_due() {
  const std::uint32_t wanted = (reads_ ? std::uint32_t{EPOLLIN} : 0U) |
                               (!connected_ || unsent_bytes() > 0 ? std::uint32_t{EPOLLOUT} : 0U);
  if (wanted == polled_) return;
  polled_ = wanted;
  loop_.watch(descriptor_, *this, polled_, true);
}

}  // namespace sluice::attack
