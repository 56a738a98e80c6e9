// SPDX-License-Identifier: GPL-3.0-or-later
// A client's HTTP/1.1 connection that becomes a tunnel: what is held before, what goes both ways,
// and how each direction ends.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "sluice/http1/session.h"

namespace sluice::http1 {
namespace {

using Events = std::vector<std::string>;

const std::string upgrade =
    "POST /a HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
const std::string upgrade_with_body =
    "POST /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    "Content-Length: 4\r\n\r\nbody";

class Owner : public SessionHandler {
 public:
  explicit Owner(const SessionOptions& options = {}) : session(*this, options) {}

  void on_request(const Request& request, http::RequestHead&& head) override {
    id = request.id;
    note("request to " + head.protocol);
  }
  void on_head_too_large(RequestId, http::RequestHead&&) override { note("too large"); }
  void on_malformed(RequestId, http::RequestHead&&, Refusal why) override {
    note("malformed " + std::string(to_string(why)));
  }
  void on_data(RequestId, Bytes bytes) override {
    if (!events.empty() && events.back().starts_with("data ")) {
      events.back() += as_text(bytes);
    } else {
      note("data " + std::string(as_text(bytes)));
    }
    uncredited += bytes.size();
    if (credits) credit();
  }
  void on_end_of_stream(RequestId) override { note("body ends"); }
  void on_tunnel_ended(RequestId, bool in_order) override {
    note(in_order ? "client ends" : "client ends, cut");
  }
  void on_closed(RequestId, bool whole) override { note(whole ? "closed" : "closed, cut"); }
  http::BodyResult on_body_wanted(RequestId, MutableBytes room) override {
    const std::size_t n = std::min(room.size(), to_send.size());
    std::memcpy(room.data(), to_send.data(), n);
    to_send.erase(0, n);
    return {n, to_send.empty() ? how : http::BodyStatus::more};
  }

  void credit() { session.consume(id, std::exchange(uncredited, 0)); }
  void switch_protocol() {
    http::ResponseHead head;
    head.status = 101;
    head.fields.add("x-a", "b");
    head.fields.add("content-length", "7");
    session.submit_response(id, head, true);
  }
  void refuse() {
    http::ResponseHead head;
    head.status = 400;
    head.fields.add("content-length", "0");
    session.submit_response(id, head, false);
  }
  void send(std::string_view text) {
    to_send += text;
    session.resume_body(id);
  }
  void finish(http::BodyStatus status = http::BodyStatus::finished) {
    how = status;
    session.resume_body(id);
  }
  std::string collect() {
    std::string out;
    std::vector<std::uint8_t> batch(16384);
    while (const std::size_t n = session.collect(batch)) out += as_text(Bytes(batch).first(n));
    return out;
  }
  void feed(std::string_view text, std::size_t step = SIZE_MAX) {
    for (std::size_t at = 0; at < text.size(); at += std::min(step, text.size() - at)) {
      session.feed(as_bytes(text.substr(at, step)));
    }
  }
  void go_on() {
    for (int turn = 0; session.can_go_on(); ++turn) {
      ASSERT_LT(turn, 100'000) << "nothing comes of going on";
      session.feed({});
    }
  }
  void note(std::string event) { events.push_back(std::move(event)); }

  Session session;
  Events events;
  RequestId id = 0;
  std::string to_send;
  http::BodyStatus how = http::BodyStatus::more;
  std::size_t uncredited = 0;
  bool credits = true;
};

constexpr std::string_view switched =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\nx-a: "
    "b\r\n\r\n";

TEST(TunnelSession, BytesGoBothWaysAsTheyAre) {
  for (const std::size_t step : {SIZE_MAX, std::size_t{1}}) {
    Owner owner;
    owner.feed(upgrade + "early GET / HTTP/1.1\r\n\r\n", step);
    EXPECT_EQ(owner.events, (Events{"request to SPDY/3.1"}));
    owner.switch_protocol();
    owner.go_on();
    owner.feed("\r\nmore", step);
    EXPECT_EQ(owner.events.back(), "data early GET / HTTP/1.1\r\n\r\n\r\nmore");
    owner.send("\r\n\r\nwords");
    EXPECT_EQ(owner.collect(), std::string(switched) + "\r\n\r\nwords");
    EXPECT_FALSE(owner.session.finished());
  }
}

TEST(TunnelSession, TheRequestsOwnBodyComesFirst) {
  for (const std::size_t step : {SIZE_MAX, std::size_t{1}}) {
    Owner owner;
    owner.feed(upgrade_with_body + "early", step);
    EXPECT_EQ(owner.events, (Events{"request to SPDY/3.1", "data body", "body ends"}));
    owner.switch_protocol();
    owner.go_on();
    EXPECT_EQ(owner.events.back(), "data early");
  }
}

TEST(TunnelSession, A101InTheMiddleOfTheBodyCutsTheConnection) {
  Owner owner;
  owner.feed(upgrade_with_body.substr(0, upgrade_with_body.size() - 2));
  owner.switch_protocol();
  EXPECT_EQ(owner.collect(), "");
  EXPECT_EQ(owner.events.back(), "closed, cut");
  EXPECT_TRUE(owner.session.finished());
}

TEST(TunnelSession, A101ThatNobodyHasAskedForCutsTheConnection) {
  Owner owner;
  owner.feed("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
  owner.switch_protocol();
  EXPECT_EQ(owner.collect(), "");
  EXPECT_EQ(owner.events.back(), "closed, cut");
}

TEST(TunnelSession, WhatComesEarlyIsHeldUpTo64KilobytesAndThenWaits) {
  Owner owner;
  owner.feed(upgrade);
  const std::string record(16'000, 'x');
  std::size_t fed = 0;
  for (; owner.session.wants_input(); fed += record.size()) {
    ASSERT_LT(fed, std::size_t{100'000});
    owner.feed(record);
  }
  EXPECT_GE(fed, std::size_t{64} * 1024);
  EXPECT_LE(fed, std::size_t{80} * 1024);
  EXPECT_EQ(owner.session.held_bytes(), fed);
  EXPECT_EQ(owner.events.size(), std::size_t{1});
  owner.switch_protocol();
  owner.go_on();
  EXPECT_TRUE(owner.session.wants_input());
  EXPECT_EQ(owner.events.back().size(), fed + 5);
}

// Who is told meanwhile that this connection takes no further request loses nothing by it.
TEST(TunnelSession, WhatComesEarlyOutlivesTheLastWord) {
  for (const bool body : {true, false}) {
    Owner owner;
    owner.feed(body ? upgrade_with_body : upgrade);
    owner.feed("early");
    owner.session.announce_end();
    owner.session.stop();
    owner.switch_protocol();
    owner.go_on();
    EXPECT_EQ(owner.events.back(), "data early");
    EXPECT_EQ(owner.collect(), switched);
    EXPECT_FALSE(owner.session.finished());
  }
}

// Early bytes never become a request, nor a tunnel's.
TEST(TunnelSession, WhatComesEarlyIsDroppedWithAnyOtherAnswer) {
  for (const bool before : {true, false}) {
    Owner owner;
    owner.feed(upgrade);
    if (before) owner.feed("GET /secrets HTTP/1.1\r\nHost: a\r\n\r\n");
    owner.refuse();
    if (!before) owner.feed("GET /secrets HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(owner.session.held_bytes(), owner.session.wants_output() ? 66U : 0U);
    EXPECT_EQ(owner.collect(),
              "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    owner.go_on();
    EXPECT_EQ(owner.events, (Events{"request to SPDY/3.1", "closed"}));
    EXPECT_TRUE(owner.session.finished());
    EXPECT_FALSE(owner.session.peer_ended(true));
  }
}

// No further request is taken, and the current one keeps what it has.
TEST(TunnelSession, ThatIsStoppedBeforeItIsOneLosesNothingOfIt) {
  Owner owner;
  owner.feed(upgrade + "early");
  owner.session.stop();
  owner.feed(" and");
  owner.switch_protocol();
  owner.go_on();
  owner.feed(" late");
  EXPECT_EQ(owner.events, (Events{"request to SPDY/3.1", "data early and late"}));
}

TEST(TunnelSession, WhatIsNotTakenStopsInputAtTwoWindows) {
  Owner owner;
  owner.credits = false;
  owner.feed(upgrade);
  owner.switch_protocol();
  owner.collect();
  const std::string record(16'000, 'x');
  std::size_t fed = 0;
  for (; owner.session.wants_input(); fed += record.size()) {
    ASSERT_LT(fed, std::size_t{200'000});
    owner.feed(record);
  }
  EXPECT_LE(fed, std::size_t{96} * 1024);
  EXPECT_EQ(owner.uncredited, std::size_t{64} * 1024);
  while (owner.uncredited > 0) {
    owner.credit();
    owner.go_on();
  }
  EXPECT_EQ(owner.events.back().size(), fed + 5);
  EXPECT_TRUE(owner.session.wants_input());
}

TEST(TunnelSession, EachDirectionEndsOnItsOwnInBothOrders) {
  for (const bool client_first : {true, false}) {
    Owner owner;
    owner.feed(upgrade);
    owner.switch_protocol();
    owner.collect();
    const auto client_ends = [&] {
      owner.feed("last");
      EXPECT_TRUE(owner.session.peer_ended(true));
    };
    const auto we_end = [&] {
      owner.send("words");
      owner.finish();
      EXPECT_EQ(owner.collect(), "words");
      EXPECT_EQ(owner.session.output_ended(), true);
    };
    client_first ? client_ends() : we_end();
    EXPECT_EQ(owner.session.output_ended().has_value(), !client_first);
    EXPECT_FALSE(owner.session.finished());
    client_first ? we_end() : client_ends();
    EXPECT_EQ(owner.events, (Events{"request to SPDY/3.1", "data last", "client ends", "closed"}));
    EXPECT_TRUE(owner.session.finished());
    EXPECT_FALSE(owner.session.must_not_close_cleanly());
  }
}

// What the client has sent before its end arrives at the other side first.
TEST(TunnelSession, IsNotOverBeforeTheClientsLastBytesHaveLeft) {
  Owner owner({.window_bytes = 10});
  owner.credits = false;
  owner.feed(upgrade);
  owner.switch_protocol();
  owner.finish();
  owner.collect();
  owner.feed("0123456789abcde");
  EXPECT_TRUE(owner.session.peer_ended(true));
  EXPECT_EQ(owner.events.back(), "data 0123456789");
  EXPECT_FALSE(owner.session.can_go_on());
  owner.credit();
  owner.go_on();
  EXPECT_EQ(owner.events.back(), "client ends");
  EXPECT_EQ(owner.events[1], "data 0123456789abcde");
  EXPECT_FALSE(owner.session.finished());
  owner.credit();
  owner.go_on();
  EXPECT_EQ(owner.events.back(), "closed");
  EXPECT_TRUE(owner.session.finished());
}

TEST(TunnelSession, AnEndThatNobodyHasSaidIsPassedOnAsSuch) {
  Owner owner;
  owner.feed(upgrade);
  owner.switch_protocol();
  owner.finish(http::BodyStatus::cut);
  owner.collect();
  EXPECT_EQ(owner.session.output_ended(), false);
  EXPECT_TRUE(owner.session.peer_ended(false));
  EXPECT_EQ(owner.events[1], "client ends, cut");
}

TEST(TunnelSession, ThatIsCutEndsAtOnceAndNotInOrder) {
  Owner owner;
  owner.feed(upgrade);
  owner.switch_protocol();
  owner.send("words");
  owner.session.cut(owner.id);
  EXPECT_EQ(owner.collect(), "");
  EXPECT_EQ(owner.events.back(), "closed, cut");
  EXPECT_TRUE(owner.session.finished());
  EXPECT_TRUE(owner.session.must_not_close_cleanly());
}

TEST(TunnelSession, WhoseUploadIsStoppedEndsInOrder) {
  Owner owner;
  owner.credits = false;
  owner.feed(upgrade);
  owner.switch_protocol();
  owner.feed("more");
  owner.send("words");
  owner.finish();
  EXPECT_EQ(owner.collect(), std::string(switched) + "words");
  owner.session.stop_upload(owner.id);
  EXPECT_EQ(owner.collect(), "");
  EXPECT_EQ(owner.events.back(), "closed");
  EXPECT_TRUE(owner.session.finished());
  EXPECT_FALSE(owner.session.must_not_close_cleanly());
}

}  // namespace
}  // namespace sluice::http1
