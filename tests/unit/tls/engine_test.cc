// SPDX-License-Identifier: GPL-3.0-or-later
// Handshakes and data of two engines in memory.
#include <algorithm>
#include <numeric>

#include "foreign_peer.h"
#include "pair.h"
#include "sluice/base/random.h"

namespace sluice::tls::testing {
namespace {

class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override { set_up_library(); }

  static Buffer pattern(std::size_t size) {
    Buffer bytes(size);
    Random random(size + 1);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
    return bytes;
  }
};

TEST_F(EngineTest, AgreesOnTls13WithTheHybridGroupAndHttp2) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands()) << pair.server->error().context << pair.client->error().context;
  for (const Engine* engine : {pair.server.get(), pair.client.get()}) {
    EXPECT_EQ(engine->version(), "TLSv1.3");
    EXPECT_EQ(engine->group(), "X25519MLKEM768");
    EXPECT_EQ(engine->alpn(), "h2");
    EXPECT_EQ(engine->cipher(), "TLS_AES_128_GCM_SHA256");
  }
}

TEST_F(EngineTest, ShakesHandsByteByByte) {
  Pair pair;
  EXPECT_TRUE(pair.shake_hands(1));
}

TEST_F(EngineTest, ShakesHandsInPiecesOfAnySize) {
  const auto server = make_server(server_options());
  const auto client = make_client(client_options());
  for (const std::size_t chunk : {2U, 3U, 5U, 7U, 64U, 100U, 999U, 1458U}) {
    Pair pair(server, client);
    EXPECT_TRUE(pair.shake_hands(chunk)) << chunk;
  }
}

TEST_F(EngineTest, CarriesDataBothWays) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands());
  for (const std::size_t size : {1U, 2U, 100U, 16383U, 16384U, 16385U, 1000000U}) {
    const Buffer sent = pattern(size);
    EXPECT_EQ(decrypt(*pair.server, encrypt(*pair.client, sent)).plain, sent) << size;
    EXPECT_EQ(decrypt(*pair.client, encrypt(*pair.server, sent)).plain, sent) << size;
  }
}

TEST_F(EngineTest, CarriesTensOfMegabytes) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands());
  const Buffer sent = pattern(1 << 20);
  for (int i = 0; i < 16; ++i) {
    ASSERT_EQ(decrypt(*pair.server, encrypt(*pair.client, sent), 16384).plain, sent);
    ASSERT_EQ(decrypt(*pair.client, encrypt(*pair.server, sent), 16384).plain, sent);
  }
}

TEST_F(EngineTest, OneWriteIsOneRecord) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands());
  const Buffer sent = pattern(plain_record_bytes_max);
  const Buffer encrypted = encrypt(*pair.server, sent);
  ASSERT_LE(encrypted.size(), encrypted_record_bytes_max);
  EXPECT_EQ(static_cast<std::size_t>(encrypted[3]) << 8 | encrypted[4], encrypted.size() - 5);
  EXPECT_EQ(decrypt(*pair.client, encrypted).reads, 1U);
}

TEST_F(EngineTest, ReadsRecordsSplitAtEveryByte) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands());
  const Buffer sent = pattern(150);
  for (Engine* receiver : {pair.server.get(), pair.client.get()}) {
    Engine& sender = receiver == pair.server.get() ? *pair.client : *pair.server;
    const std::size_t size = encrypt(sender, sent, 50).size();
    decrypt(*receiver, {});
    // The records above were never delivered: start anew for each split.
    for (std::size_t split = 0; split <= size; ++split) {
      Pair fresh(pair.server_context, pair.client_context);
      ASSERT_TRUE(fresh.shake_hands());
      Engine& from = receiver == pair.server.get() ? *fresh.client : *fresh.server;
      Engine& to = receiver == pair.server.get() ? *fresh.server : *fresh.client;
      const Buffer encrypted = encrypt(from, sent, 50);
      Received first = decrypt(to, Bytes(encrypted).first(split));
      const Received second = decrypt(to, Bytes(encrypted).subspan(split));
      first.plain.insert(first.plain.end(), second.plain.begin(), second.plain.end());
      ASSERT_EQ(first.plain, sent) << split;
      if (split > 20 && split < size - 20) split += 6;  // the edges count; the middles look alike
    }
  }
}

TEST_F(EngineTest, ReadsDataFedByteByByte) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands());
  const Buffer sent = pattern(5000);
  EXPECT_EQ(decrypt(*pair.server, encrypt(*pair.client, sent, 700), 1).plain, sent);
  EXPECT_EQ(decrypt(*pair.client, encrypt(*pair.server, sent, 700), 1).plain, sent);
}

TEST_F(EngineTest, KeptInputOutlivesTheCallersMemory) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands());
  const Buffer sent = pattern(40000);
  for (Engine* receiver : {pair.server.get(), pair.client.get()}) {
    Engine& sender = receiver == pair.server.get() ? *pair.client : *pair.server;
    Buffer encrypted = encrypt(sender, sent);
    receiver->feed(encrypted);
    auto result = receiver->read();
    ASSERT_EQ(result.status, Engine::Status::done);
    Buffer received(result.plain.begin(), result.plain.end());
    EXPECT_TRUE(receiver->has_input());
    receiver->keep_input();
    std::fill(encrypted.begin(), encrypted.end(), std::uint8_t{0xee});
    encrypted = {};
    // What comes later follows what was kept.
    const Buffer more = pattern(100);
    Buffer encrypted_more = encrypt(sender, more);
    receiver->feed(encrypted_more);
    receiver->keep_input();
    encrypted_more = {};
    while ((result = receiver->read()).status == Engine::Status::done) {
      received.insert(received.end(), result.plain.begin(), result.plain.end());
    }
    EXPECT_EQ(result.status, Engine::Status::need_input);
    EXPECT_FALSE(receiver->has_input());
    Buffer expected = sent;
    expected.insert(expected.end(), more.begin(), more.end());
    EXPECT_EQ(received, expected);
  }
}

TEST_F(EngineTest, HasInputUntilReadSaysItNeedsMore) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands());
  EXPECT_FALSE(pair.server->has_input());
  decrypt(*pair.client, encrypt(*pair.server, pattern(1)));
  EXPECT_FALSE(pair.client->has_input());
  const Buffer encrypted = encrypt(*pair.server, pattern(3), 1);
  pair.client->feed(encrypted);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(pair.client->has_input());
    EXPECT_EQ(pair.client->read().plain.size(), 1U);
  }
  EXPECT_TRUE(pair.client->has_input());
  EXPECT_EQ(pair.client->read().status, Engine::Status::need_input);
  EXPECT_FALSE(pair.client->has_input());
}

TEST_F(EngineTest, DataThatCameWithTheLastFlightIsNotLost) {
  Pair pair;
  pair.client->handshake();
  Buffer hello = take_pending(*pair.client);
  pair.server->feed(hello);
  pair.server->handshake();
  const Buffer flight = take_pending(*pair.server);
  pair.client->feed(flight);
  ASSERT_EQ(pair.client->handshake(), Engine::Status::done);
  Buffer last = take_pending(*pair.client);
  const Buffer sent = pattern(20000);
  const Buffer data = encrypt(*pair.client, sent);
  last.insert(last.end(), data.begin(), data.end());
  pair.server->feed(last);
  ASSERT_EQ(pair.server->handshake(), Engine::Status::done);
  EXPECT_TRUE(pair.server->has_input());
  Buffer received;
  for (;;) {
    const auto result = pair.server->read();
    if (result.status != Engine::Status::done) break;
    received.insert(received.end(), result.plain.begin(), result.plain.end());
  }
  EXPECT_EQ(received, sent);
}

TEST_F(EngineTest, CloseNotifyReachesThePeer) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands());
  pair.client->close_notify();
  EXPECT_GT(pair.client->pending_bytes(), 0U);
  EXPECT_EQ(decrypt(*pair.server, take_pending(*pair.client)).status, Engine::Status::closed);
  EXPECT_EQ(pair.server->handshake(), Engine::Status::closed);
  // The other direction stays open (RFC 8446 section 6.1).
  const Buffer sent = pattern(100);
  EXPECT_EQ(decrypt(*pair.client, encrypt(*pair.server, sent)).plain, sent);
  pair.server->close_notify();
  EXPECT_EQ(decrypt(*pair.client, take_pending(*pair.server)).status, Engine::Status::closed);
}

TEST_F(EngineTest, DataBeforeACloseNotifyIsRead) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands());
  const Buffer sent = pattern(1000);
  Buffer bytes = encrypt(*pair.client, sent);
  pair.client->close_notify();
  const Buffer goodbye = take_pending(*pair.client);
  bytes.insert(bytes.end(), goodbye.begin(), goodbye.end());
  const Received received = decrypt(*pair.server, bytes);
  EXPECT_EQ(received.plain, sent);
  EXPECT_EQ(received.status, Engine::Status::closed);
}

TEST_F(EngineTest, PendingBytesStayInFrontOfRecords) {
  ForeignPeer::Options options;
  options.alpn = {"h2"};
  ForeignPeer foreign(options);
  const auto context = make_server(server_options());
  auto ours = std::move(Engine::server(context).value());
  ASSERT_TRUE(shake_hands(*ours, foreign));
  // The foreign peer wants new keys: the answer lies in pending, and what follows needs it first.
  const Received received = decrypt(*ours, foreign.key_update(true));
  EXPECT_EQ(received.status, Engine::Status::need_input);
  EXPECT_GT(ours->pending_bytes(), 0U);
  const Buffer data = encrypt(*ours, as_bytes("after the new keys"));
  EXPECT_EQ(ours->pending_bytes(), 0U);
  foreign.step(data);
  EXPECT_EQ(foreign.received(), "after the new keys");
  EXPECT_EQ(as_text(decrypt(*ours, foreign.send("and back")).plain), "and back");
}

TEST_F(EngineTest, ABufferWithoutRoomForARecordGetsNone) {
  Pair pair;
  ASSERT_TRUE(pair.shake_hands());
  Buffer room(encrypted_record_bytes_max - 1);
  RecordBuffer out{room.data(), 0, room.size()};
  EXPECT_TRUE(pair.server->begin_record(out).empty());
  EXPECT_EQ(out.size, 0U);
  EXPECT_FALSE(pair.server->failed());
  const Buffer sent = pattern(500);
  EXPECT_EQ(decrypt(*pair.client, encrypt(*pair.server, sent)).plain, sent);
}

// What is read lies where it was decrypted, until the next read.
TEST_F(EngineTest, WhatWasReadStaysWhileRecordsAreWritten) {
  for (const bool at_server : {false, true}) {
    Pair pair;
    ASSERT_TRUE(pair.shake_hands());
    Engine& reader = at_server ? *pair.server : *pair.client;
    Engine& writer = at_server ? *pair.client : *pair.server;
    const Buffer first = pattern(16384);
    const Buffer encrypted = encrypt(writer, first);
    reader.feed(encrypted);
    const auto result = reader.read();
    ASSERT_EQ(result.status, Engine::Status::done);
    const Buffer answer = pattern(10'000);
    EXPECT_EQ(decrypt(writer, encrypt(reader, answer)).plain, answer);
    EXPECT_EQ(Buffer(result.plain.begin(), result.plain.end()), first);
    EXPECT_EQ(reader.read().status, Engine::Status::need_input);
    EXPECT_EQ(decrypt(reader, encrypt(writer, answer)).plain, answer);
  }
}

TEST_F(EngineTest, PendingIsTakenInAsManyPartsAsTheCallerLikes) {
  Pair pair;
  pair.client->handshake();
  Buffer hello;
  while (pair.client->pending_bytes() > 0) {
    Buffer room(7);
    RecordBuffer out{room.data(), 0, room.size()};
    pair.client->take_pending(out);
    hello.insert(hello.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(out.size));
  }
  pair.server->feed(hello);
  EXPECT_EQ(pair.server->handshake(), Engine::Status::need_input);
  EXPECT_GT(pair.server->pending_bytes(), 1000U);
}

TEST_F(EngineTest, TheServersOrderOfProtocolsDecides) {
  ServerOptions server = server_options();
  server.alpn = {"h2", "http/1.1"};
  ClientOptions client = client_options();
  client.alpn = {"http/1.1", "h2"};
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake_hands());
  EXPECT_EQ(pair.server->alpn(), "h2");
  EXPECT_EQ(pair.client->alpn(), "h2");
}

TEST_F(EngineTest, AClientWithoutProtocolsGetsNone) {
  ClientOptions client = client_options();
  client.alpn = {};
  Pair pair(server_options(), client);
  ASSERT_TRUE(pair.shake_hands());
  EXPECT_EQ(pair.server->alpn(), "");
}

TEST_F(EngineTest, AClientWithForeignProtocolsGetsTheRightAlert) {
  ForeignPeer::Options options;
  options.alpn = {"smtp", "http/0.9"};
  ForeignPeer foreign(options);
  const auto context = make_server(server_options());
  auto ours = std::move(Engine::server(context).value());
  EXPECT_FALSE(shake_hands(*ours, foreign));
  EXPECT_EQ(foreign.alert(), "no application protocol");
  EXPECT_EQ(ours->error().context, "no application protocol (ALPN) in common (-405)");
}

TEST_F(EngineTest, SpeaksTls12WithAForeignClient) {
  for (const char* cipher : {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
                             "ECDHE-ECDSA-CHACHA20-POLY1305"}) {
    ForeignPeer::Options options;
    options.version_max = 0x0303;
    options.ca_pem = authority().ca.pem();
    options.alpn = {"h2"};
    options.ciphers = cipher;
    ForeignPeer foreign(options);
    const auto context = make_server(server_options());
    auto ours = std::move(Engine::server(context).value());
    ASSERT_TRUE(shake_hands(*ours, foreign)) << cipher << ours->error().context;
    EXPECT_EQ(ours->version(), "TLSv1.2");
    EXPECT_EQ(ours->alpn(), "h2");
    foreign.step(encrypt(*ours, as_bytes("hello")));
    EXPECT_EQ(foreign.received(), "hello");
    EXPECT_EQ(as_text(decrypt(*ours, foreign.send("world")).plain), "world");
    ours->close_notify();
    foreign.step(take_pending(*ours));
    EXPECT_TRUE(foreign.close_notify_received());
  }
}

TEST_F(EngineTest, AServerOfNewerClientsSendsOlderOnesAway) {
  ServerOptions strict = server_options();
  strict.version_min = Version::tls1_3;
  const auto context = make_server(strict);
  for (const int version : {0x0303, 0x0304}) {
    ForeignPeer::Options options;
    options.version_max = version;
    options.ca_pem = authority().ca.pem();
    options.alpn = {"h2"};
    ForeignPeer foreign(options);
    auto ours = std::move(Engine::server(context).value());
    EXPECT_EQ(shake_hands(*ours, foreign), version == 0x0304) << ours->error().context;
    if (version == 0x0303) {
      EXPECT_EQ(foreign.alert(), "protocol version");
    }
  }
}

TEST_F(EngineTest, SpeaksWithForeignServersOfBothVersions) {
  for (const int version : {0x0303, 0x0304}) {
    ForeignPeer::Options options;
    options.server = true;
    options.version_max = version;
    options.chain = {authority().server};
    options.alpn = {"h2"};
    options.groups = "X25519:P-256";
    ForeignPeer foreign(options);
    const auto context = make_client(client_options());
    auto ours = std::move(Engine::client(context, "sluice.test").value());
    ASSERT_TRUE(shake_hands(*ours, foreign)) << ours->error().context;
    EXPECT_EQ(ours->version(), version == 0x0303 ? "TLSv1.2" : "TLSv1.3");
    EXPECT_EQ(ours->alpn(), "h2");
    // That server takes no hybrid: the second key share is used, without another round trip.
    EXPECT_EQ(ours->group(), "X25519");
    foreign.step(encrypt(*ours, as_bytes("hello")));
    EXPECT_EQ(foreign.received(), "hello");
    EXPECT_EQ(as_text(decrypt(*ours, foreign.send("world")).plain), "world");
  }
}

TEST_F(EngineTest, ServesClientsOfEveryGroup) {
  for (const char* group : {"X25519", "P-256", "P-384"}) {
    ForeignPeer::Options options;
    options.groups = group;
    ForeignPeer foreign(options);
    const auto context = make_server(server_options());
    auto ours = std::move(Engine::server(context).value());
    EXPECT_TRUE(shake_hands(*ours, foreign)) << group;
  }
  // A key share that we do not take, with one that we do in the list: HelloRetryRequest.
  ForeignPeer::Options options;
  options.groups = "P-521:P-256";
  ForeignPeer foreign(options);
  const auto context = make_server(server_options());
  auto ours = std::move(Engine::server(context).value());
  EXPECT_TRUE(shake_hands(*ours, foreign));
}

TEST_F(EngineTest, RefusesOldVersionsAndWeakSuites) {
  ForeignPeer::Options old;
  old.version_min = 0x0301;
  old.version_max = 0x0302;
  old.ciphers = "ALL:@SECLEVEL=0";
  old.weak = true;
  ForeignPeer::Options static_rsa;
  static_rsa.version_max = 0x0303;
  static_rsa.ciphers = "AES128-GCM-SHA256:AES128-SHA";
  ForeignPeer::Options cbc;
  cbc.version_max = 0x0303;
  cbc.ciphers = "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256";
  ForeignPeer::Options group;
  group.version_min = 0x0304;
  group.groups = "P-521";
  for (const auto& [options, why] : {std::pair(old, "no version in common"),
                                     {static_rsa, "no cipher suite in common"},
                                     {cbc, "no cipher suite in common"},
                                     {group, "no key exchange group in common"}}) {
    ForeignPeer foreign(options);
    const auto context = make_server(server_options());
    auto ours = std::move(Engine::server(context).value());
    EXPECT_FALSE(shake_hands(*ours, foreign));
    EXPECT_EQ(ours->handshake(), Engine::Status::failed);
    EXPECT_TRUE(ours->error().context.starts_with(why)) << ours->error().context;
  }
}

TEST_F(EngineTest, ServesWithAnRsaCertificate) {
  const auto certificate =
      test::issue_server(authority().ca, {"sluice.test"}, test::KeyType::rsa2048);
  ServerOptions options = server_options();
  options.certificate_chain_pem = certificate.pem();
  options.private_key_pem = certificate.key_pem();
  Pair pair(options);
  EXPECT_TRUE(pair.shake_hands()) << pair.client->error().context;
}

TEST_F(EngineTest, NeverGivesATicketAndNeverResumes) {
  for (const int version : {0x0303, 0x0304}) {
    for (const bool same_context : {true, false}) {
      const std::shared_ptr<const ServerContext> first = make_server(server_options());
      const auto second = same_context ? first : make_server(server_options());
      ForeignPeer::Options options;
      options.version_max = version;
      options.chain = {authority().client};
      options.server_name = "sluice.test";
      ForeignPeer alice(options);
      auto ours = std::move(Engine::server(first).value());
      ASSERT_TRUE(shake_hands(*ours, alice));
      alice.step(encrypt(*ours, as_bytes("x")));
      ASSERT_TRUE(ours->peer_certificate().verified);
      // What came after the handshake would be tickets of TLS 1.3; TLS 1.2 has session ids, too.
      if (version == 0x0304) {
        EXPECT_EQ(alice.tickets(), 0);
      }
      void* session = alice.session();
      options.session = session;
      options.chain = {};
      options.server_name = "other.test";
      ForeignPeer nobody(options);
      auto again = std::move(Engine::server(second).value());
      EXPECT_TRUE(shake_hands(*again, nobody));
      EXPECT_FALSE(nobody.resumed());
      EXPECT_FALSE(again->peer_certificate().presented);
      EXPECT_FALSE(again->peer_certificate().verified);
      ForeignPeer::free_session(session);
    }
  }
}

TEST_F(EngineTest, DoesNotRenegotiate) {
  ForeignPeer::Options options;
  options.version_max = 0x0303;
  ForeignPeer foreign(options);
  const auto context = make_server(server_options());
  auto ours = std::move(Engine::server(context).value());
  ASSERT_TRUE(shake_hands(*ours, foreign));
  const Buffer hello = foreign.renegotiate();
  ASSERT_FALSE(hello.empty());
  const Received received = decrypt(*ours, hello);
  EXPECT_EQ(received.plain.size(), 0U);
  EXPECT_EQ(received.status, Engine::Status::failed) << ours->error().context;
  EXPECT_EQ(ours->error().kind, ErrorKind::protocol);
  // No second handshake.
  foreign.step(take_pending(*ours));
  EXPECT_FALSE(foreign.established());
  EXPECT_NE(foreign.alert(), "");
}

TEST_F(EngineTest, GarbageEndsTheHandshake) {
  const auto server = make_server(server_options());
  const auto client = make_client(client_options());
  Random random(7);
  for (int i = 0; i < 2000; ++i) {
    Buffer garbage(1 + random.below(600));
    for (auto& byte : garbage) byte = static_cast<std::uint8_t>(random.next());
    if (i % 2 == 0 && garbage.size() > 6) {  // sometimes a plausible beginning
      const Buffer beginning = {22, 3, 1, 0, static_cast<std::uint8_t>(garbage.size() - 5), 1};
      std::copy(beginning.begin(), beginning.end(), garbage.begin());
    }
    const bool serve = random.below(2) == 0;
    auto engine = serve ? std::move(Engine::server(server).value())
                        : std::move(Engine::client(client, "sluice.test").value());
    engine->handshake();
    engine->feed(garbage);
    const auto status = engine->handshake();
    EXPECT_NE(status, Engine::Status::done);
    EXPECT_NE(status, Engine::Status::closed);
    EXPECT_FALSE(engine->established());
    EXPECT_FALSE(engine->error().context.contains("has no name")) << engine->error().context;
  }
}

TEST_F(EngineTest, AChangedByteOfTheHandshakeIsNoticed) {
  const auto server = make_server(server_options());
  const auto client = std::shared_ptr<const ClientContext>(
      make_client(client_options({&authority().client}, authority().client.key)));
  Random random(11);
  for (int i = 0; i < 400; ++i) {
    Pair pair(server, client);
    pair.client->handshake();
    Buffer flight = take_pending(*pair.client);
    bool to_server = true;
    const auto which = static_cast<int>(random.below(3));
    for (int step = 0; step < 6 && !flight.empty(); ++step) {
      if (step == which) {
        // Behind the record's header: the version in it is not protected.
        flight[5 + random.below(static_cast<std::uint32_t>(flight.size() - 5))] ^=
            static_cast<std::uint8_t>(1 + random.below(255));
      }
      Engine& to = to_server ? *pair.server : *pair.client;
      to.feed(flight);
      to.handshake();
      to.keep_input();
      flight = take_pending(to);
      to_server = !to_server;
    }
    EXPECT_FALSE(pair.client->established() && pair.server->established()) << which;
  }
}

TEST_F(EngineTest, AChangedByteOfARecordIsNoticed) {
  const auto server = make_server(server_options());
  const auto client = make_client(client_options());
  Random random(13);
  for (int i = 0; i < 100; ++i) {
    Pair pair(server, client);
    ASSERT_TRUE(pair.shake_hands());
    Buffer bytes = encrypt(*pair.client, pattern(200), 100);
    bytes[5 + random.below(100)] ^= 1;
    const Received received = decrypt(*pair.server, bytes);
    EXPECT_EQ(received.status, Engine::Status::failed);
    EXPECT_TRUE(received.plain.empty());
    EXPECT_EQ(pair.server->error().kind, ErrorKind::protocol);
    EXPECT_EQ(pair.server->error().side, Side::client);
    Buffer room(encrypted_record_bytes_max);
    RecordBuffer out{room.data(), 0, room.size()};
    EXPECT_TRUE(pair.server->begin_record(out).empty());
    EXPECT_TRUE(pair.server->failed());
  }
}

TEST_F(EngineTest, AFloodOfKeyUpdatesEndsTheConnection) {
  for (const bool answer : {true, false}) {
    ForeignPeer foreign({});
    const auto context = make_server(server_options());
    auto ours = std::move(Engine::server(context).value());
    ASSERT_TRUE(shake_hands(*ours, foreign));
    int updates = 0;
    Received received;
    while (updates < 1000 && received.status == Engine::Status::need_input) {
      received = decrypt(*ours, foreign.key_update(answer));
      foreign.step(take_pending(*ours));
      ++updates;
    }
    EXPECT_EQ(received.status, Engine::Status::failed);
    EXPECT_EQ(ours->error().kind, ErrorKind::limit);
    EXPECT_GT(updates, 32);
    EXPECT_LT(updates, 100);
  }
}

TEST_F(EngineTest, AFloodOfKeyUpdatesInOnePieceEndsTheConnection) {
  ForeignPeer foreign({});
  const auto context = make_server(server_options());
  auto ours = std::move(Engine::server(context).value());
  ASSERT_TRUE(shake_hands(*ours, foreign));
  Buffer flood;
  for (int i = 0; i < 600; ++i) {
    const Buffer update = foreign.key_update(false);
    flood.insert(flood.end(), update.begin(), update.end());
  }
  EXPECT_EQ(decrypt(*ours, flood).status, Engine::Status::failed);
  EXPECT_EQ(ours->error().kind, ErrorKind::limit);
}

// They would be one record's worth of work for who counts records (RFC 8446 section 5.1).
TEST_F(EngineTest, AKeyUpdateIsTheLastMessageOfItsRecord) {
  const auto context = make_server(server_options());
  const Buffer update{24, 0, 0, 1, 0};
  for (const int updates : {1, 2, 3000}) {
    ForeignPeer foreign({});
    auto ours = std::move(Engine::server(context).value());
    ASSERT_TRUE(shake_hands(*ours, foreign));
    Buffer messages;
    for (int i = 0; i < updates; ++i) messages.insert(messages.end(), update.begin(), update.end());
    EXPECT_EQ(decrypt(*ours, foreign.handshake_record(messages)).status,
              updates == 1 ? Engine::Status::need_input : Engine::Status::failed)
        << updates;
  }
}

// Up to 64 KB of it would be kept for what never comes.
TEST_F(EngineTest, BehindTheHandshakeNothingButAKeyUpdateIsBegun) {
  const auto context = make_server(server_options());
  for (const std::uint8_t type : {std::uint8_t{24}, std::uint8_t{11}, std::uint8_t{4}}) {
    ForeignPeer foreign({});
    auto ours = std::move(Engine::server(context).value());
    ASSERT_TRUE(shake_hands(*ours, foreign));
    Buffer messages{type, 1, 0, 0};
    messages.resize(10'000);
    EXPECT_EQ(decrypt(*ours, foreign.handshake_record(messages)).status, Engine::Status::failed)
        << int{type};
  }
}

TEST_F(EngineTest, AKeyUpdateNowAndThenIsFine) {
  ForeignPeer foreign({});
  const auto context = make_server(server_options());
  auto ours = std::move(Engine::server(context).value());
  ASSERT_TRUE(shake_hands(*ours, foreign));
  for (int i = 0; i < 500; ++i) {
    Buffer bytes = foreign.key_update(true);
    for (int j = 0; j < 20; ++j) {
      const Buffer more = foreign.send("data");
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
    const Received received = decrypt(*ours, bytes);
    ASSERT_EQ(received.status, Engine::Status::need_input) << i;
    ASSERT_EQ(received.plain.size(), 80U);
    foreign.step(take_pending(*ours));
  }
}

TEST_F(EngineTest, AFloodOfChangeCipherSpecsEndsTheHandshake) {
  const auto context = make_server(server_options());
  auto ours = std::move(Engine::server(context).value());
  const auto client_context = make_client(client_options());
  auto client = std::move(Engine::client(client_context, "sluice.test").value());
  client->handshake();
  Buffer bytes = take_pending(*client);
  for (int i = 0; i < 20000; ++i) bytes.insert(bytes.end(), {20, 3, 3, 0, 1, 1});
  ours->feed(bytes);
  EXPECT_EQ(ours->handshake(), Engine::Status::failed);
}

TEST_F(EngineTest, AnEndlessHandshakeMessageEnds) {
  const auto context = make_server(server_options());
  auto ours = std::move(Engine::server(context).value());
  // A ClientHello that announces 16 MB, in records of full size.
  Buffer record = {22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff};
  record.resize(5 + 16384);
  Engine::Status status = Engine::Status::need_input;
  std::size_t fed = 0;
  while (status == Engine::Status::need_input && fed < (16U << 20)) {
    ours->feed(record);
    status = ours->handshake();
    fed += record.size();
    std::fill(record.begin() + 5, record.end(), std::uint8_t{0});
  }
  EXPECT_EQ(status, Engine::Status::failed);
  EXPECT_LT(fed, 300000U);
}

// A reload replaces contexts; connections end with those that they began with.
TEST_F(EngineTest, KeepsItsContexts) {
  Pair pair;
  const std::weak_ptr<const ServerContext> server = pair.server_context;
  const std::weak_ptr<const ClientContext> client = pair.client_context;
  pair.server_context.reset();
  pair.client_context.reset();
  EXPECT_TRUE(pair.shake_hands()) << pair.client->error().context;
  EXPECT_EQ(decrypt(*pair.server, encrypt(*pair.client, as_bytes("x"))).plain.size(), 1U);
  EXPECT_FALSE(server.expired() || client.expired());
  pair.server.reset();
  pair.client.reset();
  EXPECT_TRUE(server.expired() && client.expired());
}

TEST_F(EngineTest, OneContextIsForServersOfSeveralNames) {
  const auto server = make_server(server_options());
  const auto client = make_client(client_options());
  for (const auto& [name, good] : {std::pair{"sluice.test", true}, std::pair{"sluice.test.", true},
                                   std::pair{"127.0.0.1", true}, std::pair{"::1", true},
                                   std::pair{"other.test", false}, std::pair{"10.0.0.1", false}}) {
    Pair pair(server, client);
    pair.client = std::move(Engine::client(client, name).value());
    EXPECT_EQ(pair.shake_hands(), good) << name;
  }
}

TEST_F(EngineTest, EnginesMayEndAtAnyMoment) {
  const auto server = make_server(server_options());
  const auto client = make_client(client_options());
  for (std::size_t bytes = 0; bytes < 4000; bytes += 37) {
    Pair pair(server, client);
    pair.client->handshake();
    const Buffer hello = take_pending(*pair.client);
    pair.server->feed(Bytes(hello).first(std::min(bytes, hello.size())));
    pair.server->handshake();
    const Buffer flight = take_pending(*pair.server);
    pair.client->feed(Bytes(flight).first(std::min(bytes, flight.size())));
    pair.client->handshake();
  }
}

}  // namespace
}  // namespace sluice::tls::testing
