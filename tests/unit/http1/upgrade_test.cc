// SPDX-License-Identifier: GPL-3.0-or-later
// Our side of a connection that is to become a tunnel: what is asked, which answers open one, and
// that nothing goes through before or beside it.
#include "sluice/http1/upgrade.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace sluice::http1 {
namespace {

using namespace std::string_literals;
using Input = Upgrade::Input;
using Output = Upgrade::Output;

http::RequestHead request(std::string_view protocol = "SPDY/3.1") {
  http::RequestHead head;
  head.method = "POST";
  head.scheme = "https";
  head.authority = "kubernetes:443";
  head.path = "/api/v1/namespaces/x/pods/p/exec?command=a%20b&stdin=true";
  head.protocol = protocol;
  head.fields.add("x-stream-protocol-version", "v4.channel.k8s.io");
  head.fields.add("x-remote-user", "alice");
  return head;
}

constexpr std::string_view switched =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade, foo\r\nUpgrade: spdy/3.1\r\n"
    "X-A: b\r\n\r\n";

// Writes down what happens, and has bytes to send.
class Owner : public UpgradeHandler {
 public:
  explicit Owner(const UpgradeOptions& options = {}) : upgrade(*this, options) {}

  void on_interim(http::ResponseHead&& head) override {
    note("interim " + std::to_string(head.status));
  }
  void on_answer(http::ResponseHead&& head, bool end) override {
    note("answer " + std::to_string(head.status) + (end ? " whole" : ""));
    for (std::size_t i = 0; i < head.fields.size(); ++i) {
      note("  " + std::string(head.fields[i].name) + "=" + std::string(head.fields[i].value));
    }
  }
  void on_data(Bytes bytes) override {
    if (!events.empty() && events.back().starts_with("data ")) {
      events.back() += as_text(bytes);
    } else {
      note("data " + std::string(as_text(bytes)));
    }
  }
  void on_end(bool in_order) override { note(in_order ? "end" : "end, cut"); }
  http::BodyResult on_body_wanted(MutableBytes room) override {
    const std::size_t n = std::min(room.size(), to_send.size());
    std::memcpy(room.data(), to_send.data(), n);
    to_send.erase(0, n);
    if (!to_send.empty() || !ends) return {n, http::BodyStatus::more};
    ends = false;
    return {n, how};
  }

  std::string collect(std::size_t batch_bytes = 16384) {
    std::string out;
    std::vector<std::uint8_t> batch(batch_bytes);
    while (const std::size_t n = upgrade.collect(batch)) out += as_text(Bytes(batch).first(n));
    return out;
  }
  void send(std::string_view text) {
    to_send += text;
    upgrade.resume_body();
  }
  void finish(http::BodyStatus status = http::BodyStatus::finished) {
    ends = true;
    how = status;
    upgrade.resume_body();
  }
  // Ready to be answered.
  void ask(const http::RequestHead& head = request()) {
    EXPECT_TRUE(upgrade.begin(head, false));
    collect();
  }
  Result<void> feed(std::string_view text, std::size_t step = SIZE_MAX) {
    for (std::size_t at = 0; at < text.size(); at += std::min(step, text.size() - at)) {
      if (auto fed = upgrade.feed(as_bytes(text.substr(at, step))); !fed) return fed;
    }
    return {};
  }
  void note(std::string event) { events.push_back(std::move(event)); }

  Upgrade upgrade;
  std::vector<std::string> events;
  std::string to_send;
  bool ends = false;
  http::BodyStatus how = http::BodyStatus::finished;
};

using Events = std::vector<std::string>;

// --- what is asked -----------------------------------------------------------------------------

TEST(UpgradeRequest, IsWrittenFromItsPartsWithWhatWasAddedLastAtItsEnd) {
  Owner owner;
  http::RequestHead head = request();
  head.fields.add("content-length", "5");
  head.fields.add("x-remote-group", "b");
  ASSERT_TRUE(owner.upgrade.begin(head, true));
  EXPECT_FALSE(owner.upgrade.written());
  owner.to_send = "hello";
  owner.ends = true;
  EXPECT_EQ(owner.collect(),
            "POST /api/v1/namespaces/x/pods/p/exec?command=a%20b&stdin=true HTTP/1.1\r\n"
            "host: kubernetes:443\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n"
            "x-stream-protocol-version: v4.channel.k8s.io\r\nx-remote-user: alice\r\n"
            "content-length: 5\r\nx-remote-group: b\r\n\r\nhello");
  EXPECT_TRUE(owner.upgrade.written());
  EXPECT_EQ(owner.upgrade.output(), Output::held);
}

TEST(UpgradeRequest, FieldsOfAConnectionAreOursToSay) {
  Owner owner;
  http::RequestHead head = request("websocket");
  for (const char* name : {"connection", "upgrade", "keep-alive", "te", "transfer-encoding"}) {
    head.fields.add(name, "chunked");
  }
  ASSERT_TRUE(owner.upgrade.begin(head, false));
  EXPECT_EQ(owner.collect().find("chunked"), std::string::npos);
}

TEST(UpgradeRequest, WhatCouldBeReadInTwoWaysIsNotWritten) {
  const auto refused = [](auto&& change, bool has_body = false) {
    Owner owner;
    http::RequestHead head = request();
    change(head);
    const bool written = owner.upgrade.begin(head, has_body);
    EXPECT_TRUE(written || owner.collect().empty());
    return !written;
  };
  using Head = http::RequestHead;
  EXPECT_TRUE(refused([](Head& h) { h.method = "GET /x HTTP/1.1\r\nA:"; }));
  EXPECT_TRUE(refused([](Head& h) { h.method = "CONNECT"; }));
  EXPECT_TRUE(refused([](Head& h) { h.path = "/a HTTP/1.1\r\nx-remote-user: root"; }));
  EXPECT_TRUE(refused([](Head& h) { h.path = "a"; }));
  EXPECT_TRUE(refused([](Head& h) { h.path = "/a#b"; }));
  EXPECT_TRUE(refused([](Head& h) { h.authority = "a b"; }));
  EXPECT_TRUE(refused([](Head& h) { h.authority.clear(); }));
  EXPECT_TRUE(refused([](Head& h) { h.protocol = "a, b"; }));
  EXPECT_TRUE(refused([](Head& h) { h.protocol = "h2c"; }));
  EXPECT_TRUE(refused([](Head& h) { h.protocol = "a\r\nb: c"; }));
  EXPECT_TRUE(refused([](Head& h) { h.fields.add("a b", "c"); }));
  EXPECT_TRUE(refused([](Head& h) { h.fields.add("a:", "c"); }));
  EXPECT_TRUE(refused([](Head& h) { h.fields.add("a", "c\nx-remote-user: root"); }));
  EXPECT_TRUE(refused([](Head& h) { h.fields.add("a", "c\0d"s); }));
  EXPECT_TRUE(refused([](Head& h) { h.fields.add("host", "other"); }));
  // How long the body is, is said once, and is true.
  EXPECT_TRUE(refused([](Head&) {}, true));
  EXPECT_TRUE(refused([](Head& h) { h.fields.add("content-length", "5"); }, false));
  EXPECT_TRUE(refused([](Head& h) { h.fields.add("content-length", "0"); }, true));
  for (const char* length : {"05", "+5", "5, 5", "0x5", "", "1234567890123456789"}) {
    EXPECT_TRUE(refused([&](Head& h) { h.fields.add("content-length", length); }, true)) << length;
  }
  EXPECT_TRUE(refused(
      [](Head& h) {
        h.fields.add("content-length", "5");
        h.fields.add("content-length", "5");
      },
      true));
  EXPECT_FALSE(refused([](Head& h) { h.fields.add("content-length", "0"); }));
  EXPECT_FALSE(refused([](Head&) {}));
}

// --- 101 ---------------------------------------------------------------------------------------

TEST(UpgradeTunnel, BytesGoBothWaysBehindA101HoweverTheyAreCut) {
  for (const std::size_t step : {SIZE_MAX, std::size_t{1}, std::size_t{7}}) {
    Owner owner;
    owner.ask();
    ASSERT_TRUE(owner.feed(
        "HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + std::string(switched) + "HTTP/1.1 200 OK\r\n\r\n",
        step));
    EXPECT_EQ(owner.events,
              (Events{"interim 103", "answer 101", "  connection=upgrade, foo",
                      "  upgrade=spdy/3.1", "  x-a=b", "data HTTP/1.1 200 OK\r\n\r\n"}));
    owner.send("\r\n\0x"s);
    EXPECT_EQ(owner.collect(1), "\r\n\0x"s);
    EXPECT_FALSE(owner.upgrade.over());
  }
}

TEST(UpgradeTunnel, NothingGoesOutBeforeA101) {
  Owner owner;
  owner.ask();
  owner.send("GET /secrets HTTP/1.1\r\n\r\n");
  EXPECT_FALSE(owner.upgrade.wants_output());
  EXPECT_EQ(owner.collect(), "");
  ASSERT_TRUE(owner.feed("HTTP/1.1 100 Continue\r\n\r\n"));
  owner.upgrade.resume_body();
  EXPECT_EQ(owner.collect(), "");
  ASSERT_TRUE(owner.feed(switched));
  EXPECT_EQ(owner.collect(), "GET /secrets HTTP/1.1\r\n\r\n");
}

TEST(UpgradeTunnel, EachDirectionEndsOnItsOwnInBothOrders) {
  for (const bool ours_first : {true, false}) {
    Owner owner;
    owner.ask();
    ASSERT_TRUE(owner.feed(switched));
    const auto end_ours = [&] {
      owner.send("last");
      owner.finish();
      EXPECT_EQ(owner.collect(), "last");
      EXPECT_EQ(owner.upgrade.output(), Output::ended);
      EXPECT_TRUE(owner.upgrade.ended_in_order());
    };
    const auto end_theirs = [&] {
      ASSERT_TRUE(owner.feed("words"));
      EXPECT_TRUE(owner.upgrade.peer_ended(true));
      EXPECT_EQ(owner.events.back(), "end");
    };
    ours_first ? end_ours() : end_theirs();
    EXPECT_FALSE(owner.upgrade.over());
    ours_first ? end_theirs() : end_ours();
    EXPECT_TRUE(owner.upgrade.over());
  }
}

TEST(UpgradeTunnel, AnEndThatNobodyHasSaidIsPassedOnAsSuch) {
  Owner owner;
  owner.ask();
  ASSERT_TRUE(owner.feed(switched));
  owner.finish(http::BodyStatus::cut);
  EXPECT_EQ(owner.collect(), "");
  EXPECT_EQ(owner.upgrade.output(), Output::ended);
  EXPECT_FALSE(owner.upgrade.ended_in_order());
  EXPECT_TRUE(owner.upgrade.peer_ended(false));
  EXPECT_EQ(owner.events.back(), "end, cut");
}

TEST(UpgradeTunnel, A101BeforeTheWholeRequestIsNone) {
  Owner owner;
  http::RequestHead head = request();
  head.fields.add("content-length", "5");
  ASSERT_TRUE(owner.upgrade.begin(head, true));
  owner.to_send = "hel";
  owner.collect();
  EXPECT_EQ(owner.upgrade.output(), Output::request);
  EXPECT_FALSE(owner.feed(switched));
}

TEST(UpgradeTunnel, AnAnswerToNothingIsNone) {
  Owner owner;
  ASSERT_TRUE(owner.upgrade.begin(request(), false));
  EXPECT_FALSE(owner.feed(switched));
  EXPECT_TRUE(owner.events.empty());
}

// --- other answers -----------------------------------------------------------------------------

struct Answered {
  const char* name;
  std::string bytes;
  Events events;
  bool ends_with_connection = false;
};

class UpgradeAnswerTest : public testing::TestWithParam<Answered> {};

TEST_P(UpgradeAnswerTest, IsReadToItsEndAndNothingBehindItCounts) {
  for (const std::size_t step : {SIZE_MAX, std::size_t{1}}) {
    Owner owner;
    owner.ask();
    owner.send("early");
    ASSERT_TRUE(owner.feed(GetParam().bytes, step));
    EXPECT_EQ(owner.upgrade.over(), !GetParam().ends_with_connection);
    if (GetParam().ends_with_connection) {
      EXPECT_TRUE(owner.upgrade.peer_ended(true));
    }
    EXPECT_EQ(owner.events, GetParam().events);
    EXPECT_TRUE(owner.upgrade.over());
    EXPECT_TRUE(owner.feed(switched));
    EXPECT_EQ(owner.events.size(), GetParam().events.size());
    owner.upgrade.resume_body();
    EXPECT_EQ(owner.collect(), "");
  }
}

INSTANTIATE_TEST_SUITE_P(
    Answers, UpgradeAnswerTest,
    testing::Values(
        Answered{"length",
                 "HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nbadHTTP/1.1 200 OK\r\n\r\n",
                 {"answer 400", "  content-length=3", "data bad", "end"}},
        Answered{"empty",
                 "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\nrest",
                 {"answer 403 whole", "  content-length=0"}},
        Answered{"no_content", "HTTP/1.1 204 No\r\n\r\nrest", {"answer 204 whole"}},
        Answered{
            "chunks",
            "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n4;a=b\r\nwors\r\n"
            "0\r\nX-Remote-User: y\r\n\r\nrest",
            {"answer 500", "  transfer-encoding=chunked", "data badwors", "end"}},
        Answered{"to_the_end",
                 "HTTP/1.1 200 OK\r\n\r\nall of it",
                 {"answer 200", "data all of it", "end"},
                 true},
        Answered{"old",
                 "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
                 {"answer 200", "  content-length=2", "data ok", "end"}}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(UpgradeAnswer, ToHeadHasNoBodyWhateverItSays) {
  Owner owner;
  http::RequestHead head = request();
  head.method = "HEAD";
  owner.ask(head);
  ASSERT_TRUE(owner.feed("HTTP/1.1 400 Bad\r\nContent-Length: 300\r\n\r\n"));
  EXPECT_EQ(owner.events, (Events{"answer 400 whole", "  content-length=300"}));
  EXPECT_TRUE(owner.upgrade.over());
}

TEST(UpgradeAnswer, ThatIsNotWholeDoesNotLookSo) {
  for (const std::string_view bytes :
       {"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nba",
        "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n", "HTTP/1.1 4", ""}) {
    Owner owner;
    owner.ask();
    ASSERT_TRUE(owner.feed(bytes));
    EXPECT_FALSE(owner.upgrade.peer_ended(true)) << bytes;
  }
  Owner owner;
  owner.ask();
  ASSERT_TRUE(owner.feed("HTTP/1.1 200 OK\r\n\r\nall of it"));
  EXPECT_FALSE(owner.upgrade.peer_ended(false));
}

TEST(UpgradeAnswer, ThatTwoReadersCouldUnderstandDifferentlyIsBroken) {
  for (const std::string& bytes : {
           "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"s,
           "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"s,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"s,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"s,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"s,
           "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"s,
           "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n"s,
           "HTTP/1.1 200 OK\r\nContent-Length: 3 \r\n\r\n"s,
           "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"s,
           "HTTP/1.1 200 OK\nA: b\n\n"s,
           "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n"s,
           "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n"s,
           "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"s,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\n"s,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nbad"s,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbadX\r\n"s,
           "HTTP/1.1 999 OK\r\n\r\n"s,
           "HTTP/2.0 200 OK\r\n\r\n"s,
           "SSH-2.0-OpenSSH\r\n"s,
           "GET / HTTP/1.1\r\n\r\n"s,
           "\0\0\0\4\0\0\0\0\0"s,
           "HTTP/1.1 101 Switching\r\nUpgrade: SPDY/3.1\r\n\r\n"s,
           "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n\r\n"s,
           "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"s,
           "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1, a\r\n\r\n"s,
           "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
           "Upgrade: SPDY/3.1\r\n\r\n"s,
           "HTTP/1.0 101 Switching\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"s,
           "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
           "Content-Length: 5\r\n\r\n"s,
           "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
           "Transfer-Encoding: chunked\r\n\r\n"s,
           "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"s,
       }) {
    for (const std::size_t step : {SIZE_MAX, std::size_t{1}}) {
      Owner owner;
      owner.ask();
      owner.send("early");
      const auto fed = owner.feed(bytes, step);
      EXPECT_FALSE(fed) << bytes;
      if (!fed) {
        EXPECT_EQ(fed.error().side, Side::backend);
      }
      EXPECT_EQ(owner.collect(), "");
      EXPECT_NE(owner.upgrade.input(), Input::tunnel) << bytes;
    }
  }
}

TEST(UpgradeAnswer, IsBounded) {
  const UpgradeOptions options{.header_fields_max = 3, .header_list_bytes_max = 200};
  const auto ends = [&](const std::string& bytes, ErrorKind kind) {
    Owner owner(options);
    owner.ask();
    const auto fed = owner.feed(bytes, 10);
    return !fed && fed.error().kind == kind;
  };
  EXPECT_TRUE(ends("HTTP/1.1 200 OK\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n\r\n", ErrorKind::limit));
  EXPECT_TRUE(
      ends("HTTP/1.1 200 OK\r\nA: " + std::string(300, 'a') + "\r\n\r\n", ErrorKind::limit));
  EXPECT_TRUE(ends("HTTP/1.1 200 " + std::string(300, 'a'), ErrorKind::limit));
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_TRUE(ends(chunked + "3;" + std::string(300, 'a'), ErrorKind::limit));
  std::string trailers = chunked + "0\r\n";
  while (trailers.size() < 70'000) trailers += "A: b\r\n";
  EXPECT_TRUE(ends(trailers, ErrorKind::limit));
}

}  // namespace
}  // namespace sluice::http1
