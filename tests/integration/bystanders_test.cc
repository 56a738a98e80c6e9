// SPDX-License-Identifier: GPL-3.0-or-later
// Honest clients beside hostile ones: with each kind of stranger alone, and with all of them at
// once, no honest request fails, no watch ends, nobody waits long, and memory stays within bounds.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "frames.h"
#include "harness.h"

namespace sluice::test {
namespace {

constexpr std::size_t budget_bytes = std::size_t{64} << 20;

// Does a little each time.
class Stranger {
 public:
  virtual ~Stranger() = default;
  virtual void act() = 0;

 protected:
  // Keeps so many requests without an answer on each of its connections.
  static void keep_asking(const std::vector<std::unique_ptr<Http2Client>>& clients,
                          std::size_t at_once, std::map<const Http2Client*, std::size_t>& open,
                          const std::function<Ask()>& next) {
    for (const auto& client : clients) {
      for (const Http2Client::Id id : client->take_over()) {
        client->forget(id);
        --open[client.get()];
      }
      while (open[client.get()] < at_once && client->can_ask()) {
        client->ask(next());
        ++open[client.get()];
      }
    }
  }
};

class BystandersTest : public IntegrationTest {
 protected:
  // Sanitizers are ten times slower.
  const int requests = sanitized() ? 400 : 2000;

  using Connect = std::function<std::unique_ptr<Http2Client>()>;

  // Requests that wait for one of few connections without a credential.
  class Anonymous final : public Stranger {
   public:
    explicit Anonymous(const Connect& connect) {
      for (int i = 0; i < 2; ++i) clients_.push_back(connect());
    }
    void act() override {
      keep_asking(clients_, 200, open_, [] { return Ask{.path = "/version"}; });
    }

   private:
    std::vector<std::unique_ptr<Http2Client>> clients_;
    std::map<const Http2Client*, std::size_t> open_;
  };

  // Each token is answered once by what answers everybody, and then refused.
  class MadeUpTokens final : public Stranger {
   public:
    explicit MadeUpTokens(const Connect& connect) {
      for (int i = 0; i < 2; ++i) clients_.push_back(connect());
    }
    void act() override {
      keep_asking(clients_, 100, open_, [this] {
        const FieldList fields = bearer(fmt::format("made-up-{}", ++number_ / 2));
        return number_ % 2 == 0 ? Ask{.path = "/api?timeout=bogus", .fields = fields}
                                : Ask{.path = std::string(object_path), .fields = fields};
      });
    }

   private:
    std::vector<std::unique_ptr<Http2Client>> clients_;
    std::map<const Http2Client*, std::size_t> open_;
    int number_ = 1;
  };

  // All the watches that one token can have.
  class Watches final : public Stranger {
   public:
    explicit Watches(const Connect& connect) {
      for (int i = 0; i < 4; ++i) clients_.push_back(connect());
    }
    void act() override {
      keep_asking(clients_, 200, open_, [] {
        return Ask{.path = "/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=0",
                   .fields = bearer("token-7")};
      });
    }

   private:
    std::vector<std::unique_ptr<Http2Client>> clients_;
    std::map<const Http2Client*, std::size_t> open_;
  };

  // An aggregated API refuses them, and nothing says that it was not the API server.
  class Aggregated final : public Stranger {
   public:
    explicit Aggregated(std::unique_ptr<Http2Client> client) {
      clients_.push_back(std::move(client));
    }
    void act() override {
      keep_asking(clients_, 4, open_,
                  [] { return Ask{.path = "/apis/refusing.example.com/v1/things"}; });
    }

   private:
    std::vector<std::unique_ptr<Http2Client>> clients_;
    std::map<const Http2Client*, std::size_t> open_;
  };

  // Heads that the compression makes out of some bytes each, and answers that are not taken.
  class LargeHeads final : public Stranger {
   public:
    explicit LargeHeads(std::function<std::unique_ptr<RawClient>()> connect)
        : connect_(std::move(connect)) {}
    void act() override {
      if (clients_.size() >= 12) return;
      clients_.push_back(connect_());
      clients_.back()->begin_http2({{frame::initial_window_size, 0}});
      FrameWriter writer;
      for (std::uint32_t stream = 0; stream < 240; ++stream) {
        std::string block = hpack_get("/%zz");
        if (stream == 0) {
          block += hpack_literal("x", std::string(3500, 'v'), Indexing::incremental);
        }
        block += std::string(60, '\xbe');
        writer.headers(1 + 2 * stream, block);
      }
      clients_.back()->send(writer.text(), 10s);
    }

   private:
    std::function<std::unique_ptr<RawClient>()> connect_;
    std::vector<std::unique_ptr<RawClient>> clients_;
  };

  // Lists that nobody reads, by one client after the other.
  class UnreadLists final : public Stranger {
   public:
    explicit UnreadLists(Connect connect) : connect_(std::move(connect)) {}
    void act() override {
      if (clients_.size() >= 8) return;
      clients_.push_back(connect_());
      // New at first, and thus among those that have to prove themselves.
      const FieldList fields = bearer(fmt::format("token-{}", 5 + clients_.size() % 2));
      for (int i = 0; i < 200; ++i) {
        clients_.back()->ask(
            {.path = "/api/v1/namespaces/bench-1m/configmaps", .fields = fields, .reads = false});
      }
    }

   private:
    Connect connect_;
    std::vector<std::unique_ptr<Http2Client>> clients_;
  };

  void begin(int connections_max) {
    start({"--workers=2", fmt::format("--backend-connections-max={}", connections_max),
           fmt::format("--body-bytes-per-worker={}", budget_bytes)},
          {"--pods=20"});
    by_certificate_ = connect(&credentials.alice);
    by_token_ = connect();
    watcher_ = connect(&credentials.alice);
    uploader_ = connect(&credentials.bob);
    // Proven before anything happens.
    for (int i = 0; i < 10; ++i) {
      ASSERT_EQ(by_certificate_->fetch({.path = std::string(object_path)}).status, 200);
      ASSERT_EQ(by_token_->fetch({.path = std::string(object_path), .fields = bearer()}).status,
                200);
    }
    watches_ = open_watches(*watcher_, 10);
    before_ = sluice->child().resident_bytes();
  }

  struct Figures {
    std::size_t good = 0;
    std::vector<Duration> times;
    Duration slowest_new_token{};
    Duration percentile(std::size_t of_hundred) {
      if (times.empty()) return {};
      std::ranges::sort(times);
      return times[(times.size() - 1) * of_hundred / 100];
    }
  };

  // A request each by certificate and by token in turn, one after the other; each hundredth time a
  // token that is new here, an upload and a new watch.
  Figures measure(const std::vector<std::unique_ptr<Stranger>>& strangers) {
    Figures figures;
    for (int i = 0; i < requests; ++i) {
      for (const auto& stranger : strangers) stranger->act();
      Http2Client& client = i % 2 == 0 ? *by_certificate_ : *by_token_;
      const Answer& answer = client.fetch(
          {.path = std::string(object_path), .fields = i % 2 == 0 ? FieldList() : bearer()});
      EXPECT_EQ(answer.status, 200) << answer.describe();
      figures.good += answer.status == 200;
      figures.times.push_back(answer.ended_at - answer.asked);
      if (i % 100 == 50) be_more(figures, !strangers.empty());
    }
    return figures;
  }

  void be_more(Figures& figures, bool with_new_token) {
    if (with_new_token && new_tokens_ < 4) {
      const auto newcomer = connect();
      const Answer& first =
          newcomer->fetch({.path = std::string(object_path),
                           .fields = bearer(fmt::format("token-{}", ++new_tokens_))});
      EXPECT_EQ(first.status, 200) << "a new token: " << first.describe();
      figures.slowest_new_token =
          std::max<Duration>(figures.slowest_new_token, first.ended_at - first.asked);
    }
    const Answer& upload = uploader_->fetch(
        {.method = "POST",
         .path = "/api/v1/namespaces/default/configmaps",
         .fields = {{"content-type", "application/json"}},
         .body = fmt::format(R"({{"metadata":{{"name":"by-{}"}},"data":{{"filling":"{}"}}}})",
                             ++uploads_, std::string(100'000, 'x'))});
    EXPECT_EQ(upload.status, 201) << upload.describe();
    const auto added = open_watches(*by_token_, 1, bearer());
    for (const Http2Client::Id id : added) by_token_->reset(id);
  }

  void expect_all_well(const std::string& what,
                       const std::vector<std::unique_ptr<Stranger>>& strangers) {
    Figures quiet = measure({});
    Figures beside = measure(strangers);
    for (const Http2Client::Id id : watches_) {
      EXPECT_FALSE(watcher_->answer(id).over) << what << watcher_->answer(id).describe();
    }
    const auto milliseconds = [](Duration d) {
      return std::chrono::duration<double, std::milli>(d).count();
    };
    const std::size_t memory = sluice->child().resident_bytes();
    const std::string figure = fmt::format(
        "{}: {} of {} requests, p50 {:.2f} p99 {:.2f} ms (alone {:.2f} and {:.2f}), a new token at "
        "most "
        "{:.0f} ms, memory +{} MB",
        what, beside.good, requests, milliseconds(beside.percentile(50)),
        milliseconds(beside.percentile(99)), milliseconds(quiet.percentile(50)),
        milliseconds(quiet.percentile(99)), milliseconds(beside.slowest_new_token),
        (memory - std::min(memory, before_)) >> 20);
    RecordProperty("figure", figure);
    fmt::print("figure: {}\n", figure);
    EXPECT_EQ(beside.good, static_cast<std::size_t>(requests)) << figure;
    EXPECT_EQ(new_tokens_, 4);
    // Where all places are taken by answers that nobody reads: a second until they count as unread,
    // and one for which the place of a cancelled stream is held.
    EXPECT_LE(beside.slowest_new_token, 4s) << figure;
    // Two workers, and what the allocator keeps of each.
    EXPECT_LE(memory, before_ + allowance(2 * budget_bytes + budget_bytes)) << figure;
  }

  Connect stranger() {
    return [this] { return connect(); };
  }
  std::unique_ptr<Stranger> make(std::string_view kind) {
    if (kind == "anonymous") return std::make_unique<Anonymous>(stranger());
    if (kind == "made-up tokens") return std::make_unique<MadeUpTokens>(stranger());
    if (kind == "watches") return std::make_unique<Watches>(stranger());
    if (kind == "aggregated") return std::make_unique<Aggregated>(connect(&credentials.carol));
    if (kind == "large heads") {
      return std::make_unique<LargeHeads>([this] { return connect_raw(); });
    }
    return std::make_unique<UnreadLists>(stranger());
  }

  std::unique_ptr<Http2Client> by_certificate_, by_token_, watcher_, uploader_;
  std::vector<Http2Client::Id> watches_;
  int new_tokens_ = 0;
  int uploads_ = 0;
  std::size_t before_ = 0;
};

constexpr std::string_view kinds[] = {"anonymous",  "made-up tokens", "watches",
                                      "aggregated", "large heads",    "unread lists"};

class BystandersOfOneTest : public BystandersTest,
                            public testing::WithParamInterface<std::string_view> {};

TEST_P(BystandersOfOneTest, AreServedAsIfAlone) {
  begin(8);
  std::vector<std::unique_ptr<Stranger>> strangers;
  strangers.push_back(make(GetParam()));
  expect_all_well(std::string(GetParam()), strangers);
}

INSTANTIATE_TEST_SUITE_P(All, BystandersOfOneTest, testing::ValuesIn(kinds),
                         [](const auto& param_info) {
                           std::string name(param_info.param);
                           std::erase_if(name, [](char c) { return c == ' ' || c == '-'; });
                           return name;
                         });

TEST_F(BystandersTest, AreServedBesideAllOfThemAtOnce) {
  begin(16);
  apisim->post("/servers/all/set?goaway-chance=0.02");
  std::vector<std::unique_ptr<Stranger>> strangers;
  for (const std::string_view kind : kinds) strangers.push_back(make(kind));
  expect_all_well("all at once", strangers);
}

}  // namespace
}  // namespace sluice::test
