// SPDX-License-Identifier: GPL-3.0-or-later
// Sockets that listen, connect and close.
#include "sluice/io/socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <cerrno>

#include "ring_fixture.h"

namespace sluice::io {
namespace {

int option(int descriptor, int level, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  EXPECT_EQ(::getsockopt(descriptor, level, name, &value, &size), 0);
  return value;
}

TEST(SocketTest, ConfiguresStreamsAndAcceptedSocketsAlike) {
  const TestListener listener;
  const auto [accepted, client] = listener.pair();
  for (const int descriptor : {accepted.get(), client.get()}) {
    EXPECT_NE(option(descriptor, IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_EQ(option(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 128 * 1024);
    EXPECT_NE(option(descriptor, SOL_SOCKET, SO_KEEPALIVE), 0);
    EXPECT_NE(::fcntl(descriptor, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
  }
}

TEST(SocketTest, ListensForSeveralWorkersOnOneAddress) {
  const auto any = Address::parse("127.0.0.1:0");
  const TestSocket first(*listen_on(*any, {}));
  const Address address = *local_address(first.get());
  EXPECT_NE(address.port(), 0);
  const auto second = listen_on(address, {});
  ASSERT_TRUE(second.has_value()) << second.error().context;
  close_socket(*second);

  const auto alone = listen_on(address, {.reuse_port = false});
  ASSERT_FALSE(alone.has_value());
  EXPECT_EQ(alone.error().kind, ErrorKind::system);
  EXPECT_NE(alone.error().context.find(address.to_string()), std::string::npos);
}

// A client of IPv4 there has an address of IPv4, as it had with a listener of its own.
TEST(SocketTest, TakesIpv4OnTheWildcardOfIpv6) {
  const auto listening = listen_on(*Address::parse("[::]:0"), {});
  if (!listening) GTEST_SKIP() << "no IPv6 here";
  const TestSocket socket(*listening);
  const std::uint16_t port = local_address(socket.get())->port();
  const auto target = *Address::parse("127.0.0.1:" + std::to_string(port));
  const TestSocket client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), target.data(), target.size()), 0);
  const TestSocket accepted(accept_now(socket.get()));
  EXPECT_EQ(*peer_address(accepted.get()), *local_address(client.get()));
  EXPECT_EQ(peer_address(accepted.get())->host(), "127.0.0.1");
  EXPECT_EQ(*local_address(accepted.get()), target);
}

TEST(SocketTest, LeavesIpv4ToAnotherListenerWhereToldTo) {
  const auto listening = listen_on(*Address::parse("[::]:0"), {.v6_only = true});
  if (!listening) GTEST_SKIP() << "no IPv6 here";
  const TestSocket socket(*listening);
  EXPECT_EQ(option(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY), 1);
  EXPECT_EQ(local_address(socket.get())->family(), AF_INET6);
}

TEST(SocketTest, KnowsBothEndsOfAConnection) {
  const TestListener listener;
  const auto [accepted, client] = listener.pair();
  EXPECT_EQ(*peer_address(client.get()), listener.address);
  EXPECT_EQ(*local_address(accepted.get()), listener.address);
  EXPECT_EQ(*peer_address(accepted.get()), *local_address(client.get()));
  EXPECT_FALSE(peer_address(listener.socket.get()).has_value());
}

TEST(SocketTest, AcceptsFromTheBacklogUntilItIsEmpty) {
  const TestListener listener;
  EXPECT_EQ(accept_now(listener.socket.get()), -1);
  const TestSocket one = listener.connect();
  const TestSocket two = listener.connect();
  const TestSocket first(accept_now(listener.socket.get()));
  const TestSocket second(accept_now(listener.socket.get()));
  EXPECT_EQ(accept_now(listener.socket.get()), -1);
}

TEST(SocketTest, SendsAResetOnCloseWhenToldTo) {
  const TestListener listener;
  auto [accepted, client] = listener.pair();
  reset_on_close(accepted.get());
  accepted.close();
  char byte = 0;
  EXPECT_EQ(::recv(client.get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST(SocketTest, IgnoresAShutdownOfAConnectionThatIsGone) {
  const TestSocket never_connected(*open_stream(AF_INET));
  shutdown_send(never_connected.get());
}

TEST(SocketTest, DrainsAWakeDescriptorHoweverOftenItWasSignalled) {
  const TestSocket wake(*open_wake_descriptor());
  std::uint64_t count = 0;
  drain_wake(wake.get());  // does not block
  for (int i = 0; i < 3; ++i) signal_wake(wake.get());
  drain_wake(wake.get());
  EXPECT_EQ(::read(wake.get(), &count, sizeof(count)), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST(SocketTest, SeesThatAPeerHasEndedWithoutTakingWhatItSaid) {
  const TestListener listener;
  auto [near, far] = listener.pair();
  EXPECT_FALSE(peer_has_ended(near.get()));
  far.write("x");
  far.close();
  EXPECT_FALSE(peer_has_ended(near.get()));  // there is something to hear yet
  char byte = 0;
  EXPECT_EQ(::recv(near.get(), &byte, 1, 0), 1);
  EXPECT_TRUE(peer_has_ended(near.get()));
}

TEST(SocketTest, CountsWhatThePeerHasNotAcknowledged) {
  const TestListener listener;
  auto [near, far] = listener.pair();
  EXPECT_EQ(unacknowledged_bytes(near.get()), 0U);
  const std::string much(1 << 20, 'x');
  while (::send(near.get(), much.data(), much.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
  EXPECT_GT(unacknowledged_bytes(near.get()), 0U);
}

}  // namespace
}  // namespace sluice::io
