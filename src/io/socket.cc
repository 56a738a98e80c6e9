// SPDX-License-Identifier: GPL-3.0-or-later
// Sockets of the kernel. With ring.cc one of two implementations of the seam.
#include "sluice/io/socket.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sluice/base/check.h"

namespace sluice::io {
namespace {

bool set_option(int descriptor, int level, int name, int value) {
  return ::setsockopt(descriptor, level, name, &value, sizeof(value)) == 0;
}

using NameOf = int (*)(int, sockaddr*, socklen_t*);

Result<Address> address_by(NameOf name_of, std::string_view what, int descriptor) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  auto* generic = reinterpret_cast<sockaddr*>(&storage);
  if (name_of(descriptor, generic, &size) != 0) return fail_errno(what, errno);
  return Address::from_sockaddr(generic, size);
}

}  // namespace

Result<int> listen_on(const Address& address, const ListenOptions& options) {
  const std::string where = "cannot listen on " + address.to_string();
  const int descriptor =
      ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (descriptor < 0) return fail_errno(where, errno);
  const bool ready = set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1) &&
                     (!options.reuse_port || set_option(descriptor, SOL_SOCKET, SO_REUSEPORT, 1)) &&
                     (address.family() != AF_INET6 ||
                      set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, options.v6_only ? 1 : 0)) &&
                     ::bind(descriptor, address.data(), address.size()) == 0 &&
                     ::listen(descriptor, options.backlog) == 0;
  if (!ready) {
    const int error = errno;
    close_socket(descriptor);
    return fail_errno(where, error);
  }
  // Accepted sockets inherit all of it.
  configure_stream(descriptor);
  return descriptor;
}

Result<int> open_stream(int family) {
  const int descriptor = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (descriptor < 0) return fail_errno("cannot open a TCP socket", errno);
  configure_stream(descriptor);
  return descriptor;
}

void configure_stream(int descriptor) {
  constexpr int unsent_bytes_max = 128 * 1024;
  constexpr int idle_seconds = 30;
  constexpr int interval_seconds = 10;
  constexpr int probes = 3;
  (void)set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  (void)set_option(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent_bytes_max);
  // A peer that vanished without a word is noticed after about a minute.
  (void)set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
  (void)set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, idle_seconds);
  (void)set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, interval_seconds);
  (void)set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, probes);
}

bool peer_has_ended(int descriptor) {
  char byte = 0;
  const ssize_t seen = ::recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return seen == 0 || (seen < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

std::size_t unacknowledged_bytes(int descriptor) {
  int bytes = 0;
  if (::ioctl(descriptor, SIOCOUTQ, &bytes) != 0 || bytes < 0) return 0;
  return static_cast<std::size_t>(bytes);
}

// One that cannot be asked, because it has ended, will say so by itself.
PeerSigns signs_of_peer(int descriptor) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return {};
  // A reset that nobody has received.
  if (info.tcpi_state == TCP_CLOSE) return {std::chrono::hours(1), 1, true};
  const std::uint32_t silence = std::min(info.tcpi_last_ack_recv, info.tcpi_last_data_recv);
  const std::uint32_t unanswered =
      std::uint32_t{info.tcpi_probes} + std::uint32_t{info.tcpi_retransmits};
  return {std::chrono::milliseconds(silence), unanswered};
}

Result<Address> local_address(int descriptor) {
  return address_by(&::getsockname, "getsockname", descriptor);
}

Result<Address> peer_address(int descriptor) {
  return address_by(&::getpeername, "getpeername", descriptor);
}

void shutdown_send(int descriptor) {
  // ENOTCONN: the peer has reset the connection, there is nothing left to say.
  (void)::shutdown(descriptor, SHUT_WR);
}

void reset_on_close(int descriptor) {
  const linger value{.l_onoff = 1, .l_linger = 0};
  (void)::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &value, sizeof(value));
}

void close_socket(int descriptor) {
  // Linux has given the descriptor up whatever close returns; a wrong one is our own mistake.
  CHECK(::close(descriptor) == 0 || errno != EBADF);
}

int accept_now(int listener) {
  for (;;) {
    const int descriptor = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor >= 0) return descriptor;
    // A connection that its client gave up is not the end of the backlog.
    if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) return -1;
  }
}

Result<int> open_wake_descriptor() {
  const int descriptor = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (descriptor < 0) return fail_errno("eventfd", errno);
  return descriptor;
}

void signal_wake(int descriptor) {
  const std::uint64_t one = 1;
  // EAGAIN: the counter is full, so the descriptor is readable anyhow.
  const ssize_t written = ::write(descriptor, &one, sizeof(one));
  CHECK(written == static_cast<ssize_t>(sizeof(one)) || errno == EAGAIN || errno == EINTR);
}

void drain_wake(int descriptor) {
  std::uint64_t count = 0;
  (void)!::read(descriptor, &count, sizeof(count));
}

}  // namespace sluice::io
