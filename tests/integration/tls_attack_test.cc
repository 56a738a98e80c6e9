// SPDX-License-Identifier: GPL-3.0-or-later
// Clients that speak either version of TLS, and clients that abuse it once they are connected. They
// are made of another library, which does what it is told.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "foreign_peer.h"
#include "harness.h"

namespace sluice::test {
namespace {

constexpr int tls11 = 0x0302;
constexpr int tls12 = 0x0303;
constexpr int tls13 = 0x0304;

tls::testing::ForeignPeer::Options options(int version, const Certificate& certificate) {
  tls::testing::ForeignPeer::Options options;
  options.version_max = options.version_min = version;
  options.chain = {certificate};
  options.alpn = {"h2"};
  return options;
}

// A foreign TLS client on a socket; shakes hands at once.
class ForeignClient {
 public:
  ForeignClient(const io::Address& address, int version, const Certificate& certificate)
      : peer_(options(version, certificate)) {
    descriptor_ = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(descriptor_ >= 0);
    const timeval timeout{5, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (::connect(descriptor_, address.data(), address.size()) != 0) {
      ended_ = true;
      return;
    }
    send(peer_.step({}));
    read_until([this] { return peer_.established(); });
  }
  ~ForeignClient() { ::close(descriptor_); }
  ForeignClient(const ForeignClient&) = delete;
  ForeignClient& operator=(const ForeignClient&) = delete;

  tls::testing::ForeignPeer& peer() { return peer_; }
  bool ended() const { return ended_; }

  // Encrypted bytes; false when the proxy does not take them any more.
  bool send(Bytes bytes) {
    while (!bytes.empty() && !ended_) {
      const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EINTR) ended_ = true;
      if (sent > 0) bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return !ended_;
  }
  bool read_until(const std::function<bool()>& done, Duration timeout = 10s) {
    const Clock::time_point deadline = Clock::now() + timeout;
    while (!done()) {
      if (ended_ || Clock::now() >= deadline) return false;
      pollfd waiting{descriptor_, POLLIN, 0};
      if (::poll(&waiting, 1, 100) <= 0) continue;
      std::array<std::uint8_t, 65536> buffer{};
      const ssize_t got = ::recv(descriptor_, buffer.data(), buffer.size(), 0);
      if (got <= 0) {
        ended_ = true;
      } else {
        send(peer_.step(Bytes(buffer).first(static_cast<std::size_t>(got))));
        ended_ = ended_ || peer_.failed() || peer_.close_notify_received();
      }
    }
    return true;
  }
  bool wait_end(Duration timeout = 10s) {
    read_until([] { return false; }, timeout);
    return ended_;
  }
  // One GET, on stream `id`; true when it was answered to its end.
  bool get(std::uint32_t id) {
    FrameWriter writer;
    if (id == 1) writer.preface().window_update(0, 1U << 30);
    send(peer_.send(writer.headers(id, hpack_get(object_path)).text()));
    return read_until([&] {
      const std::string_view all = std::string_view(peer_.received()).substr(read_);
      reader_.append(as_bytes(all));
      read_ += all.size();
      while (const auto frame = reader_.next()) {
        if (frame->type == frame::data && frame->id == id && frame->has(frame::end_stream)) {
          return true;
        }
      }
      return false;
    });
  }

 private:
  tls::testing::ForeignPeer peer_;
  int descriptor_ = -1;
  bool ended_ = false;
  std::size_t read_ = 0;
  FrameReader reader_;
};

class TlsAttackTest : public IntegrationTest {
 protected:
  void begin() {
    start({}, {"--pods=10"});
    bystander = connect(&credentials.bob);
    watches = open_watches(*bystander, 3);
    EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
  }
  double ended_by_limit() const {
    return sluice->metric("sluice_client_connections_ended_total", {R"(reason="limit")"});
  }
  static double cpu_seconds_max() { return sanitized() ? 20 : 0.5; }
  double handshakes() const { return sluice->metric("sluice_client_handshakes_total"); }
  void expect_unharmed() {
    const Answer& answer = bystander->fetch({.path = std::string(object_path)});
    EXPECT_EQ(answer.status, 200) << answer.describe();
    EXPECT_LE(answer.ended_at - answer.asked, 2s);
    for (const Http2Client::Id id : watches) EXPECT_FALSE(bystander->answer(id).over);
    EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_client_connections") == 1; }, 10s));
  }

  std::unique_ptr<Http2Client> bystander;
  std::vector<Http2Client::Id> watches;
};

TEST_F(TlsAttackTest, BothVersionsAreServedAndNoOlderOne) {
  begin();
  {
    ForeignClient old(sluice->address(), tls12, credentials.alice);
    ASSERT_TRUE(old.peer().established());
    EXPECT_EQ(old.peer().version(), "TLSv1.2");
    EXPECT_TRUE(old.get(1));
    ForeignClient current(sluice->address(), tls13, credentials.alice);
    ASSERT_TRUE(current.peer().established());
    EXPECT_EQ(current.peer().version(), "TLSv1.3");
    EXPECT_TRUE(current.get(1));
    ForeignClient older(sluice->address(), tls11, credentials.alice);
    EXPECT_FALSE(older.peer().established());
    EXPECT_TRUE(older.ended());
  }
  expect_unharmed();
}

TEST_F(TlsAttackTest, WhereTheNewestVersionIsAskedForTheOthersGetAnAlert) {
  start({"--tls-min-version=1.3"});
  ForeignClient old(sluice->address(), tls12, credentials.alice);
  EXPECT_FALSE(old.peer().established());
  EXPECT_EQ(old.peer().alert(), "protocol version");
  ForeignClient current(sluice->address(), tls13, credentials.alice);
  ASSERT_TRUE(current.peer().established());
  EXPECT_TRUE(current.get(1));
}

TEST_F(TlsAttackTest, AFloodOfKeyUpdatesEndsTheConnectionAndCostsLittle) {
  begin();
  // With an answer demanded, and without.
  for (const bool answer : {true, false}) {
    const double limits = ended_by_limit();
    const double cpu = sluice->child().cpu_seconds();
    {
      ForeignClient attacker(sluice->address(), tls13, credentials.alice);
      ASSERT_TRUE(attacker.peer().established());
      ASSERT_TRUE(attacker.get(1));
      // The answers are not read.
      for (int i = 0; i < 200'000 && attacker.send(attacker.peer().key_update(answer)); ++i) {
      }
      EXPECT_TRUE(attacker.wait_end());
    }
    EXPECT_TRUE(eventually([&] { return ended_by_limit() > limits; }, 5s));
    EXPECT_LE(sluice->child().cpu_seconds() - cpu, cpu_seconds_max());
    expect_unharmed();
  }
}

TEST_F(TlsAttackTest, KeyUpdatesNowAndThenAreFine) {
  begin();
  {
    ForeignClient client(sluice->address(), tls13, credentials.alice);
    ASSERT_TRUE(client.peer().established());
    for (std::uint32_t i = 0; i < 200; ++i) {
      ASSERT_TRUE(client.get(1 + 2 * i)) << i;
      // About as often as OpenSSL's own limits could make it under heavy traffic.
      if (i % 10 == 0) {
        ASSERT_TRUE(client.send(client.peer().key_update(true)));
      }
    }
  }
  EXPECT_EQ(ended_by_limit(), 0.0);
  expect_unharmed();
}

TEST_F(TlsAttackTest, RenegotiationIsRefusedAndCostsNoHandshake) {
  begin();
  const double before = handshakes();
  const double cpu = sluice->child().cpu_seconds();
  constexpr int attempts = 20;
  for (int i = 0; i < attempts; ++i) {
    ForeignClient attacker(sluice->address(), tls12, credentials.alice);
    ASSERT_TRUE(attacker.peer().established());
    ASSERT_TRUE(attacker.get(1));
    ASSERT_TRUE(attacker.send(attacker.peer().renegotiate()));
    // By an alert, or by the end.
    attacker.read_until([&] { return !attacker.peer().alert().empty(); });
    EXPECT_TRUE(attacker.ended() || !attacker.peer().alert().empty());
    EXPECT_FALSE(attacker.peer().established());
  }
  EXPECT_EQ(handshakes(), before + attempts);
  EXPECT_LE(sluice->child().cpu_seconds() - cpu, cpu_seconds_max());
  expect_unharmed();
}

}  // namespace
}  // namespace sluice::test
