// SPDX-License-Identifier: GPL-3.0-or-later
// The server name in the first bytes of a connection.
#include "sluice/tls/client_hello.h"

#include "client_hello_parser.h"
#include "foreign_peer.h"
#include "pair.h"

namespace sluice::tls::testing {
namespace {

using Status = ClientHello::Status;

Buffer number(std::size_t value, std::size_t bytes) {
  Buffer digits;
  for (std::size_t i = bytes; i-- > 0;)
    digits.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  return digits;
}

Buffer join(const std::vector<Buffer>& parts) {
  Buffer all;
  for (const Buffer& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Buffer vector(const Buffer& content, std::size_t length_bytes) {
  return join({number(content.size(), length_bytes), content});
}

Buffer text(std::string_view characters) { return {characters.begin(), characters.end()}; }

Buffer extension(unsigned type, const Buffer& content) {
  return join({number(type, 2), vector(content, 2)});
}

Buffer server_name(std::string_view name) {
  return extension(0, vector(join({number(0, 1), vector(text(name), 2)}), 2));
}

Buffer message(const Buffer& extensions) {
  const Buffer body =
      join({number(0x0303, 2), Buffer(32, 7), vector(Buffer(32, 9), 1),
            vector({0x13, 0x01, 0x13, 0x02}, 2), vector({0}, 1), vector(extensions, 2)});
  return join({number(1, 1), vector(body, 3)});
}

Buffer records(const Buffer& handshake, std::size_t fragment = 16384) {
  Buffer all;
  for (std::size_t place = 0; place < handshake.size(); place += fragment) {
    const auto size = std::min(fragment, handshake.size() - place);
    const Buffer part(handshake.begin() + static_cast<std::ptrdiff_t>(place),
                      handshake.begin() + static_cast<std::ptrdiff_t>(place + size));
    const Buffer record = join({{22, 3, 1}, vector(part, 2)});
    all.insert(all.end(), record.begin(), record.end());
  }
  return all;
}

Buffer hello(std::string_view name) { return records(message(server_name(name))); }

TEST(ClientHelloTest, FindsTheNameInHellosOfTlsLibraries) {
  set_up_library();
  const auto context = make_client(client_options());
  auto ours = std::move(Engine::client(context, "sluice.test").value());
  ours->handshake();
  const ClientHello own = peek_client_hello(take_pending(*ours));
  EXPECT_EQ(own.status, Status::complete);
  EXPECT_EQ(own.server_name, "sluice.test");
  for (const int version : {0x0303, 0x0304}) {
    ForeignPeer::Options options;
    options.version_max = version;
    options.server_name = "Api.Cluster.Test";
    ForeignPeer foreign(options);
    const ClientHello other = peek_client_hello(foreign.step({}));
    EXPECT_EQ(other.status, Status::complete);
    EXPECT_EQ(other.server_name, "api.cluster.test");
  }
}

TEST(ClientHelloTest, IsIncompleteUntilTheLastByte) {
  for (const std::size_t fragment : {16384U, 100U, 7U, 1U}) {
    const Buffer bytes = records(message(server_name("sluice.test")), fragment);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      ASSERT_EQ(peek_client_hello(Bytes(bytes).first(size)).status, Status::incomplete)
          << fragment << ":" << size;
    }
    const ClientHello complete = peek_client_hello(bytes);
    EXPECT_EQ(complete.status, Status::complete);
    EXPECT_EQ(complete.server_name, "sluice.test");
  }
}

TEST(ClientHelloTest, WhatFollowsDoesNotMatter) {
  Buffer bytes = hello("sluice.test");
  bytes.insert(bytes.end(), {0xff, 0xff, 0xff});
  EXPECT_EQ(peek_client_hello(bytes).server_name, "sluice.test");
  // Another message in the same record.
  Buffer two = message(server_name("sluice.test"));
  two.insert(two.end(), {2, 0, 0, 0});
  EXPECT_EQ(peek_client_hello(records(two)).server_name, "sluice.test");
}

TEST(ClientHelloTest, NamesAreNormalized) {
  const auto name_of = [](std::string_view name) {
    const ClientHello result = peek_client_hello(hello(name));
    return result.status == Status::complete ? result.server_name : std::string("invalid");
  };
  EXPECT_EQ(name_of("SLUICE.Test"), "sluice.test");
  EXPECT_EQ(name_of("sluice.test."), "sluice.test");
  EXPECT_EQ(name_of("10.0.0.1"), "10.0.0.1");
  EXPECT_EQ(name_of("under_score"), "under_score");
  EXPECT_EQ(name_of(std::string(255, 'a')), std::string(255, 'a'));
  EXPECT_EQ(name_of(std::string(256, 'a')), "invalid");
  for (const std::string_view bad :
       {std::string_view(""), std::string_view("."), std::string_view("a..", 3),
        std::string_view(".a"), std::string_view("a\0b", 3), std::string_view("a b"),
        std::string_view("a/b"), std::string_view("\xc3\xa4"), std::string_view("a\n")}) {
    EXPECT_EQ(name_of(bad), "invalid") << bad;
  }
}

TEST(ClientHelloTest, NoNameIsComplete) {
  const ClientHello without = peek_client_hello(records(message(extension(43, {2, 3, 4}))));
  EXPECT_EQ(without.status, Status::complete);
  EXPECT_EQ(without.server_name, "");
  // TLS 1.2 may leave the extensions out altogether.
  const Buffer body =
      join({number(0x0303, 2), Buffer(32, 7), {0}, vector({0x13, 0x01}, 2), vector({0}, 1)});
  EXPECT_EQ(peek_client_hello(records(join({{1}, vector(body, 3)}))).status, Status::complete);
}

TEST(ClientHelloTest, TwoNamesAreInvalid) {
  EXPECT_EQ(
      peek_client_hello(records(message(join({server_name("a.test"), server_name("b.test")}))))
          .status,
      Status::invalid);
  const Buffer entry_a = join({{0}, vector(text("a.test"), 2)});
  const Buffer entry_b = join({{0}, vector(text("b.test"), 2)});
  EXPECT_EQ(
      peek_client_hello(records(message(extension(0, vector(join({entry_a, entry_b}), 2))))).status,
      Status::invalid);
  const Buffer other_type = join({{1}, vector(text("a.test"), 2)});
  EXPECT_EQ(peek_client_hello(records(message(extension(0, vector(other_type, 2))))).status,
            Status::invalid);
}

TEST(ClientHelloTest, ARequestWithoutTlsIsKnownByItsFirstFiveBytes) {
  for (const std::string_view request :
       {"GET / HTTP/1.1\r\n", "HEAD /x HTTP/1.1\r\n", "POST /api HTTP/1.1\r\n",
        "PUT /api HTTP/1.0\r\n", "OPTIONS * HTTP/1.1\r\n"}) {
    for (std::size_t size = 0; size <= request.size(); ++size) {
      EXPECT_EQ(peek_client_hello(as_bytes(request.substr(0, size))).status,
                size < 5 ? Status::incomplete : Status::plain_http)
          << request.substr(0, size);
    }
  }
}

TEST(ClientHelloTest, OtherProtocolsAreInvalidAtTheirFirstByte) {
  EXPECT_EQ(peek_client_hello(as_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).status,
            Status::invalid);
  for (const std::string_view other : {"\x80\x2e\x01", "SSH-2.0-x", "DELETE / HTTP/1.1\r\n"}) {
    EXPECT_EQ(peek_client_hello(as_bytes(other)).status, Status::invalid);
    EXPECT_EQ(peek_client_hello(as_bytes(other.substr(0, 1))).status, Status::invalid);
  }
  EXPECT_EQ(peek_client_hello(Buffer{21, 3, 1, 0, 2, 2, 40}).status, Status::invalid);  // an alert
  EXPECT_EQ(peek_client_hello(Buffer{22, 2, 1, 0, 4, 1, 0, 0, 0}).status, Status::invalid);
  EXPECT_EQ(peek_client_hello(Buffer{22, 3, 1, 0, 4, 2, 0, 0, 0}).status,
            Status::invalid);  // a ServerHello
  EXPECT_EQ(peek_client_hello(Buffer{22, 3, 1, 0, 0}).status,
            Status::invalid);  // an empty fragment
  EXPECT_EQ(peek_client_hello(Buffer{22, 3, 1, 0xff, 0xff}).status, Status::invalid);
}

TEST(ClientHelloTest, LargeHellosAreRefusedAsSoonAsTheySaySo) {
  Buffer large = {22, 3, 1, 0x40, 0, 1, 0, 0x40, 0x01};
  EXPECT_EQ(peek_client_hello(large).status, Status::invalid);
  // Just below is read.
  const Buffer padding = extension(21, Buffer(client_hello_bytes_max - 200, 0));
  EXPECT_EQ(peek_client_hello(records(message(join({padding, server_name("sluice.test")})), 16384))
                .server_name,
            "sluice.test");
  // Bytes without an end are not waited for either.
  Buffer dribble;
  const Buffer one_byte_records = records(message(join({extension(21, Buffer(8000, 0))})), 1);
  EXPECT_EQ(peek_client_hello(Bytes(one_byte_records).first(client_hello_bytes_max + 1)).status,
            Status::invalid);
}

TEST(ClientHelloTest, EveryLengthIsChecked) {
  const Buffer good =
      message(join({extension(16, vector(vector(text("h2"), 1), 2)), server_name("sluice.test")}));
  ASSERT_EQ(peek_client_hello(records(good)).server_name, "sluice.test");
  // Cut the message at every byte, with its own length made to fit: never complete with another
  // name.
  for (std::size_t size = 4; size < good.size(); ++size) {
    Buffer cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    const Buffer length = number(size - 4, 3);
    std::copy(length.begin(), length.end(), cut.begin() + 1);
    const ClientHello result = peek_client_hello(records(cut));
    EXPECT_TRUE(result.status == Status::invalid || result.server_name.empty()) << size;
    EXPECT_NE(result.status, Status::incomplete) << size;
  }
  Buffer trailing = good;
  trailing.push_back(0);
  const Buffer length = number(trailing.size() - 4, 3);
  std::copy(length.begin(), length.end(), trailing.begin() + 1);
  EXPECT_EQ(peek_client_hello(records(trailing)).status, Status::invalid);
}

TEST(ClientHelloTest, OurFirstOfferedProtocolIsFound) {
  const Buffer both = records(message(
      extension(16, vector(join({vector(text("http/1.1"), 1), vector(text("h2"), 1)}), 2))));
  EXPECT_EQ(first_offered_protocol(both, {"h2", "http/1.1"}), "h2");
  EXPECT_EQ(first_offered_protocol(both, {"http/1.1", "h2"}), "http/1.1");
  EXPECT_EQ(first_offered_protocol(both, {"h3"}), "");
  EXPECT_EQ(first_offered_protocol(hello("sluice.test"), {"h2"}), "");
  EXPECT_EQ(first_offered_protocol(Bytes(both).first(20), {"h2"}), "");
  const Buffer malformed = records(message(extension(16, {0, 5, 2, 'h', '2'})));
  EXPECT_EQ(first_offered_protocol(malformed, {"h2"}), "");
}

}  // namespace
}  // namespace sluice::tls::testing
