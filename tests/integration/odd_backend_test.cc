// SPDX-License-Identifier: GPL-3.0-or-later
// A backend that breaks the rules of HTTP in one answer hurts that answer alone: the client is told
// so, nothing broken looks whole, and everybody else on the same connection goes on. What breaks
// the connection itself costs that connection, and no watch is lost for it.
#include <fmt/format.h>

#include <algorithm>

#include "frame_backend.h"
#include "harness.h"

namespace sluice::test {
namespace {

using Script = FrameBackend::Script;

constexpr std::string_view odd_path = "/odd";
constexpr std::size_t watch_count = 6;

std::string watch_path(std::size_t number) {
  return fmt::format("/api/v1/pods?watch=1&resourceVersion={}", number + 1);
}

std::string ok_head(std::uint32_t id, std::string_view more = {}, bool end_stream = false) {
  return FrameWriter()
      .long_headers(id,
                    hpack_block({{":status", "200"}, {"content-type", "application/json"}}) +
                        std::string(more),
                    end_stream)
      .text();
}

class OddBackendTest : public IntegrationTest {
 protected:
  ~OddBackendTest() override {
    bystander.reset();
    client.reset();
    backend.reset();
  }

  // With one connection to the backend, which all share, watches too.
  void begin(Flags flags = {}) {
    flags.insert(flags.begin(), "--backend-connections-max=1");
    backend.emplace(
        *loop,
        tls::ServerOptions{.certificate_chain_pem = read_file(credentials.file("apiserver.crt")),
                           .private_key_pem = read_file(credentials.file("apiserver.key")),
                           .client_ca_pem = credentials.front_proxy_ca.pem()});
    sluice.emplace(std::vector<io::Address>{backend->address()},
                   Sluice::Plan{.flags = flags, .wait_ready = false});
    ASSERT_TRUE(eventually([&] { return sluice->page("/readyz").status == 200; }));
    bystander = connect(&credentials.bob);
    client = connect(&credentials.alice);
    for (std::size_t i = 0; i < watch_count; ++i) {
      backend->on(watch_path(i), [](std::uint32_t id) { return ok_head(id); });
      watches.push_back(bystander->ask({.path = watch_path(i)}));
      ASSERT_EQ(bystander->wait_head(watches.back()).status, 200);
    }
  }

  // The answer to a request that is answered with these frames.
  const Answer& ask_odd(Script script, Ask ask = {}) {
    backend->on(std::string(odd_path), std::move(script));
    ask.path = odd_path;
    return client->fetch(ask);
  }

  // Everything else goes on, on the same connections.
  void expect_unharmed() {
    const bool shared = std::ranges::any_of(watches, [&, i = std::size_t{0}](auto) mutable {
      return backend->seen(watch_path(i++))->connection == backend->seen(odd_path)->connection;
    });
    EXPECT_TRUE(shared) << "no watch was on the connection of the odd answer";
    for (std::size_t i = 0; i < watch_count; ++i) {
      const std::uint64_t before = bystander->answer(watches[i]).bytes;
      ASSERT_TRUE(backend->send(watch_path(i), [](std::uint32_t id) {
        return FrameWriter().data(id, "{\"type\":\"MODIFIED\"}\n").text();
      }));
      EXPECT_TRUE(
          loop->run_until([&] { return bystander->answer(watches[i]).bytes > before; }, 10s))
          << bystander->answer(watches[i]).describe();
      EXPECT_FALSE(bystander->answer(watches[i]).over);
    }
    for (Http2Client* each : {client.get(), bystander.get()}) {
      const Answer& answer = each->fetch({.path = "/version"});
      EXPECT_EQ(answer.status, 200) << answer.describe();
      EXPECT_EQ(answer.body, "ok");
    }
    EXPECT_EQ(sluice->metric("sluice_backend_connections_lost_total"), 0.0);
    EXPECT_TRUE(
        eventually([&] { return sluice->metric("sluice_exchanges") == double{watch_count}; }, 10s));
  }

  std::optional<FrameBackend> backend;
  std::unique_ptr<Http2Client> bystander, client;
  std::vector<Http2Client::Id> watches;
};

// --- one answer -------------------------------------------------------------------------------

enum class Outcome : std::uint8_t {
  whole,    // passes
  refused,  // nothing of it reaches the client, who gets an answer of ours
  cut,      // its head has passed: RST_STREAM
};

struct OddAnswer {
  std::string name;
  Outcome outcome;
  std::function<void(FrameWriter&, std::uint32_t)> write;
  std::string method = "GET";
};

void PrintTo(const OddAnswer& odd, std::ostream* out) { *out << odd.name; }

class OddAnswerTest : public OddBackendTest, public testing::WithParamInterface<OddAnswer> {};

TEST_P(OddAnswerTest, HurtsItsOwnExchangeAtMost) {
  ASSERT_NO_FATAL_FAILURE(begin());
  for (int round = 0; round < 3; ++round) {
    const Answer& answer = ask_odd(
        [](std::uint32_t id) {
          FrameWriter writer;
          GetParam().write(writer, id);
          return writer.text();
        },
        {.method = GetParam().method});
    ASSERT_TRUE(answer.over) << answer.describe();
    switch (GetParam().outcome) {
      case Outcome::whole:
        EXPECT_EQ(answer.status / 100 * 100, 200) << answer.describe();
        EXPECT_TRUE(answer.whole()) << answer.describe();
        break;
      case Outcome::refused:
        // Asked again, it would cost the same again.
        EXPECT_EQ(answer.status, 502) << answer.describe();
        EXPECT_EQ(answer.field("retry-after"), "") << answer.describe();
        EXPECT_TRUE(answer.whole()) << answer.describe();
        EXPECT_TRUE(GetParam().method == "HEAD" || answer.body.contains(R"("kind":"Status")"))
            << answer.describe();
        break;
      case Outcome::cut: EXPECT_EQ(answer.ending, Ending::reset) << answer.describe(); break;
    }
    for (const auto& [name, value] : answer.fields) EXPECT_FALSE(name == "connection") << value;
  }
  expect_unharmed();
}

std::string head_of(NameValues fields) { return hpack_block(fields); }

// A head with this field added.
OddAnswer with_field(std::string name, Outcome outcome, std::string field, std::string value) {
  return {std::move(name), outcome, [field, value](FrameWriter& w, std::uint32_t id) {
            w.raw(ok_head(id, hpack_literal(field, value))).data(id, "body", true);
          }};
}

OddAnswer with_status(std::string name, std::string status) {
  return {std::move(name), Outcome::refused, [status](FrameWriter& w, std::uint32_t id) {
            w.headers(id, hpack_literal(":status", status), false).data(id, "body", true);
          }};
}

// A head with so many of them.
OddAnswer with_fields(std::string name, Outcome outcome, int count, std::string field,
                      std::string value) {
  return {std::move(name), outcome, [=](FrameWriter& w, std::uint32_t id) {
            std::string block = hpack_literal(":status", "200");
            for (int i = 0; i < count; ++i) block += hpack_literal(field, value);
            w.long_headers(id, block);
          }};
}

OddAnswer with_trailer(std::string name, Outcome outcome, std::string field, std::string value) {
  return {std::move(name), outcome, [field, value](FrameWriter& w, std::uint32_t id) {
            w.raw(ok_head(id)).data(id, "body").headers(id, hpack_literal(field, value));
          }};
}

INSTANTIATE_TEST_SUITE_P(
    OddBackend, OddAnswerTest,
    testing::Values(
        with_field("remote_user", Outcome::whole, "x-remote-user", "admin"),
        with_field("connection_close", Outcome::refused, "connection", "close"),
        with_field("transfer_encoding", Outcome::refused, "transfer-encoding", "chunked"),
        with_field("upgrade", Outcome::refused, "upgrade", "websocket"),
        with_field("keep_alive", Outcome::refused, "keep-alive", "timeout=5"),
        with_field("upper_case", Outcome::refused, "X-Upper", "value"),
        with_field("line_break", Outcome::refused, "x-split", "a\r\nset-cookie: b"),
        with_field("null_byte", Outcome::refused, "x-null", std::string("a\0b", 3)),
        with_field("empty_name", Outcome::refused, "", "value"),
        with_field("request_pseudo", Outcome::refused, ":path", "/"),
        with_field("second_status", Outcome::refused, ":status", "201"),
        with_field("no_length", Outcome::refused, "content-length", "four"),
        with_field("negative_length", Outcome::refused, "content-length", "-4"),
        with_field("right_length", Outcome::whole, "content-length", "4"),
        with_field("body_too_short", Outcome::refused, "content-length", "5"),
        with_field("body_too_long", Outcome::refused, "content-length", "3"),
        with_field("long_field", Outcome::whole, "x-long", std::string(60'000, 'x')),
        OddAnswer{"two_lengths", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.raw(ok_head(id, hpack_literal("content-length", "4") +
                                          hpack_literal("content-length", "5")))
                        .data(id, "body", true);
                  }},
        with_status("status_of_letters", "abc"), with_status("status_too_short", "20"),
        with_status("status_too_long", "2000"), with_status("status_empty", ""),
        with_status("status_below_100", "099"), with_status("switching_protocols", "101"),
        OddAnswer{"no_status", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, head_of({{"content-type", "text/plain"}}), false)
                        .data(id, "body", true);
                  }},
        OddAnswer{"empty_head", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) { w.headers(id, ""); }},
        OddAnswer{"status_after_a_field", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, head_of({{"server", "odd"}, {":status", "200"}}));
                  }},
        OddAnswer{"interim_then_body", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, head_of({{":status", "103"}}), false).data(id, "body", true);
                  }},
        OddAnswer{
            "interim_that_ends", Outcome::refused,
            [](FrameWriter& w, std::uint32_t id) { w.headers(id, head_of({{":status", "103"}})); }},
        OddAnswer{"some_interims", Outcome::whole,
                  [](FrameWriter& w, std::uint32_t id) {
                    for (int i = 0; i < 3; ++i)
                      w.headers(id, head_of({{":status", "103"}, {"link", "</a>"}}), false);
                    w.raw(ok_head(id)).data(id, "body", true);
                  }},
        OddAnswer{"flood_of_interims", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) {
                    for (int i = 0; i < 20'000; ++i)
                      w.headers(id, head_of({{":status", "103"}, {"link", "</a>"}}), false);
                    w.raw(ok_head(id)).data(id, "body", true);
                  }},
        OddAnswer{"second_head", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.raw(ok_head(id)).raw(ok_head(id)).data(id, "body", true);
                  }},
        OddAnswer{"data_after_the_end", Outcome::whole,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.raw(ok_head(id)).data(id, "body", true).data(id, "more", true);
                  }},
        with_fields("too_large_head", Outcome::refused, 30, "x-large", std::string(40'000, 'x')),
        with_fields("too_many_fields", Outcome::refused, 9000, "x-many", "x"),
        with_fields("large_head", Outcome::whole, 24, "x-large", std::string(40'000, 'x')),
        OddAnswer{"reset_without_an_answer", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) { w.rst_stream(id, 0); }},
        OddAnswer{"reset_in_a_long_body", Outcome::cut,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.raw(ok_head(id, hpack_literal("content-length", "40000")))
                        .data(id, "body")
                        .rst_stream(id, 0);
                  }},
        OddAnswer{"reset_in_the_body", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.raw(ok_head(id)).data(id, "body").rst_stream(id, 0);
                  }},
        OddAnswer{"http11_required", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) { w.rst_stream(id, 13); }},
        OddAnswer{"head_with_a_body", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.raw(ok_head(id, hpack_literal("content-length", "4"))).data(id, "body", true);
                  },
                  "HEAD"},
        OddAnswer{"head_with_a_length", Outcome::whole,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.raw(ok_head(id, hpack_literal("content-length", "4"), true));
                  },
                  "HEAD"},
        OddAnswer{"no_content_with_a_body", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, head_of({{":status", "204"}}), false).data(id, "body", true);
                  }},
        with_trailer("trailers", Outcome::whole, "x-checksum", "1"),
        with_trailer("status_in_trailers", Outcome::refused, ":status", "200"),
        with_trailer("connection_in_trailers", Outcome::refused, "connection", "close"),
        with_trailer("encoding_in_trailers", Outcome::refused, "transfer-encoding", "chunked"),
        with_trailer("line_break_in_trailers", Outcome::refused, "x-split", "a\r\nb"),
        with_trailer("large_trailers", Outcome::refused, "x-large", std::string(15'000, '\n')),
        OddAnswer{"trailers_that_do_not_end", Outcome::refused,
                  [](FrameWriter& w, std::uint32_t id) {
                    w.raw(ok_head(id))
                        .data(id, "body")
                        .headers(id, head_of({{"x-checksum", "1"}}), false);
                  }}),
    [](const auto& param_info) { return param_info.param.name; });

// --- answers without a body ---------------------------------------------------------------------

// Some clients compare lengths frame by frame: where a server ends its answer, there we end it.
TEST_F(OddBackendTest, AnswersWithoutABodyHaveTheServersFrames) {
  ASSERT_NO_FATAL_FAILURE(begin());
  using Frames = std::vector<std::string>;
  const struct {
    std::string method;
    std::function<void(FrameWriter&, std::uint32_t)> write;
    Frames expected;
  } rows[] = {
      {"GET", [](auto& w, auto id) { w.raw(ok_head(id, {}, true)); }, {"head end"}},
      {"GET", [](auto& w, auto id) { w.headers(id, head_of({{":status", "204"}})); }, {"head end"}},
      {"GET",
       [](auto& w, auto id) {
         w.headers(id, head_of({{":status", "304"}, {"content-length", "5"}}));
       },
       {"head end"}},
      {"HEAD",
       [](auto& w, auto id) { w.raw(ok_head(id, hpack_literal("content-length", "5"), true)); },
       {"head end"}},
      {"GET",
       [](auto& w, auto id) { w.raw(ok_head(id)).data(id, "", true); },
       {"head", "body end"}},
      {"GET",
       [](auto& w, auto id) { w.raw(ok_head(id)).headers(id, head_of({{"x-checksum", "1"}})); },
       {"head", "head end"}},
  };
  for (const auto& row : rows) {
    backend->on(std::string(odd_path), [&](std::uint32_t id) {
      FrameWriter writer;
      row.write(writer, id);
      return writer.text();
    });
    const auto raw = connect_raw(&credentials.carol);
    ASSERT_TRUE(raw->begin_http2());
    const std::string head = hpack_block({{":method", row.method},
                                          {":scheme", "https"},
                                          {":path", odd_path},
                                          {":authority", "kubernetes"}});
    ASSERT_TRUE(raw->send(FrameWriter().headers(1, head).text()));
    Frames frames;
    const auto ended = [&] {
      raw->read_until([] { return false; }, 5ms);
      frames.clear();
      for (const Frame& frame : raw->frames()) {
        if (frame.id != 1 || frame.type > frame::headers) continue;
        frames.emplace_back(frame.type == frame::headers ? "head" : "body");
        if (frame.has(frame::end_stream)) frames.back() += " end";
      }
      return !frames.empty() && frames.back().ends_with(" end");
    };
    EXPECT_TRUE(loop->run_until(ended, 10s)) << row.method;
    EXPECT_EQ(frames, row.expected) << row.method;
  }
  expect_unharmed();
}

// --- answers over time ------------------------------------------------------------------------

TEST_F(OddBackendTest, AnAnswerBeforeTheRequestEndedIsWholeAndStopsTheUpload) {
  ASSERT_NO_FATAL_FAILURE(begin());
  for (const bool told : {true, false}) {
    // More than the windows take: somebody has to say that the rest is not wanted.
    const Answer& answer = ask_odd(
        [&](std::uint32_t id) {
          FrameWriter writer;
          writer.raw(ok_head(id)).data(id, "body", true);
          if (told) writer.rst_stream(id, 0);
          return writer.text();
        },
        {.method = "POST", .body = std::string(1'000'000, 'x')});
    EXPECT_EQ(answer.status, 200) << answer.describe();
    EXPECT_TRUE(answer.whole()) << answer.describe();
    EXPECT_TRUE(answer.upload_stopped) << answer.describe();
    EXPECT_TRUE(answer.over);
    EXPECT_TRUE(loop->run_until([&] { return backend->seen(odd_path)->reset || told; }, 5s));
  }
  expect_unharmed();
}

TEST_F(OddBackendTest, AHeadThatIsNeverFollowedByAnythingHoldsNobody) {
  ASSERT_NO_FATAL_FAILURE(begin(Flags{"--request-timeout=1s", "--backend-connect-timeout=500ms"}));
  backend->on(std::string(odd_path), [](std::uint32_t id) { return ok_head(id); });
  const auto id = client->ask({.path = std::string(odd_path)});
  EXPECT_EQ(client->wait_head(id).status, 200);
  // An answer that has begun has no deadline, as at an API server; its client may leave it.
  loop->run_for(2500ms);
  EXPECT_FALSE(client->answer(id).over) << client->answer(id).describe();
  client->reset(id);
  EXPECT_TRUE(loop->run_until([&] { return backend->seen(odd_path)->reset; }, 5s));
  expect_unharmed();
}

TEST_F(OddBackendTest, InterimHeadsPileUpBeforeNobody) {
  ASSERT_NO_FATAL_FAILURE(begin());
  const std::size_t before = sluice->child().resident_bytes();
  // The client takes nothing at all, not even what has no flow control.
  backend->on(std::string(odd_path), [](std::uint32_t id) {
    FrameWriter writer;
    for (int i = 0; i < 6000; ++i) {
      writer.headers(id, hpack_block({{":status", "103"}, {"link", std::string(10'000, 'x')}}),
                     false);
    }
    return writer.text();
  });
  auto stalled = connect_raw(&credentials.carol);
  ASSERT_TRUE(loop->run_until([&] { return stalled->established(); }));
  ASSERT_TRUE(stalled->send(
      FrameWriter().preface().settings_ack().headers(1, hpack_get(odd_path)).text(), 5s, false));
  EXPECT_TRUE(loop->run_until([&] {
    const auto* seen = backend->seen(odd_path);
    return seen != nullptr && (seen->reset || backend->unsent_bytes(odd_path) == 0);
  }));
  EXPECT_TRUE(loop->run_until([&] { return backend->seen(odd_path)->reset; }, 5s));
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(8U << 20));
  stalled.reset();
  expect_unharmed();
}

// --- the connection ---------------------------------------------------------------------------

struct BrokenConnection {
  std::string name;
  std::function<void(FrameWriter&, std::uint32_t)> write;
};

void PrintTo(const BrokenConnection& broken, std::ostream* out) { *out << broken.name; }

class BrokenConnectionTest : public OddBackendTest,
                             public testing::WithParamInterface<BrokenConnection> {};

TEST_P(BrokenConnectionTest, EndsItsWatchesCleanlyAndServiceGoesOn) {
  ASSERT_NO_FATAL_FAILURE(begin());
  const Answer& answer = ask_odd([](std::uint32_t id) {
    FrameWriter writer;
    GetParam().write(writer, id);
    return writer.text();
  });
  EXPECT_EQ(answer.status, 503) << answer.describe();
  const std::uint64_t broken = backend->seen(odd_path)->connection;
  std::size_t ended = 0;
  for (std::size_t i = 0; i < watch_count; ++i) {
    const Answer& watch = bystander->answer(watches[i]);
    if (backend->seen(watch_path(i))->connection == broken) {
      ++ended;
      bystander->wait(watches[i], 10s);
      EXPECT_EQ(watch.ending, Ending::end_stream) << watch.describe();
      EXPECT_GE(watch.ended_at - watch.last_byte_at, 1200ms - client_clock_slack);
    }
  }
  EXPECT_GE(ended, 1U);
  EXPECT_EQ(sluice->metric("sluice_backend_connections_lost_total"), 1.0);
  EXPECT_TRUE(
      loop->run_until([&] { return client->fetch({.path = "/version"}).status == 200; }, 10s));
}

INSTANTIATE_TEST_SUITE_P(
    OddBackend, BrokenConnectionTest,
    testing::Values(
        BrokenConnection{"body_before_the_head",
                         [](FrameWriter& w, std::uint32_t id) { w.data(id, "body", true); }},
        BrokenConnection{"body_on_stream_zero",
                         [](FrameWriter& w, std::uint32_t) { w.data(0, "body", true); }},
        BrokenConnection{"head_of_an_unknown_stream",
                         [](FrameWriter& w, std::uint32_t id) { w.raw(ok_head(id + 1000)); }},
        BrokenConnection{"pushed_stream",
                         [](FrameWriter& w, std::uint32_t id) {
                           w.frame(frame::push_promise, frame::end_headers, id,
                                   big_endian(2, 4) + hpack_get());
                         }},
        BrokenConnection{
            "broken_compression",
            [](FrameWriter& w, std::uint32_t id) { w.headers(id, "\xff\xff\xff\xff\xff"); }},
        BrokenConnection{
            "too_large_frame",
            [](FrameWriter& w, std::uint32_t id) { w.data(id, std::string(16'385, 'x')); }},
        BrokenConnection{"window_overflow",
                         [](FrameWriter& w, std::uint32_t) { w.window_update(0, 0x7fffffff); }},
        BrokenConnection{"settings_flood",
                         [](FrameWriter& w, std::uint32_t) {
                           for (int i = 0; i < 100'000; ++i) w.settings();
                         }},
        BrokenConnection{"ping_flood",
                         [](FrameWriter& w, std::uint32_t) {
                           for (int i = 0; i < 100'000; ++i) w.ping(1);
                         }},
        BrokenConnection{"http1",
                         [](FrameWriter& w, std::uint32_t) {
                           w.raw("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
                         }}),
    [](const auto& param_info) { return param_info.param.name; });

}  // namespace
}  // namespace sluice::test
