// SPDX-License-Identifier: GPL-3.0-or-later
// Who is gone, and who only stands still: clients whose machines vanish, workers that hang; and
// that whoever asks whether we live hears it in time, however much there is to do.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "frozen_thread.h"
#include "harness.h"
#include "http1_client.h"
#include "service_manager.h"

namespace sluice::test {
namespace {

constexpr std::string_view watch_path = "/api/v1/pods?watch=1&resourceVersion=0";

// ---------------------------------------------------------------- clients that vanish

constexpr Duration silence = 6s;

class ClientSilenceTest : public IntegrationTest {
 protected:
  void begin(const Flags& more = {}) {
    Flags flags{"--workers=1", "--client-silence-timeout=6s"};
    flags.insert(flags.end(), more.begin(), more.end());
    start(flags, {"--pods=3"});
    bystander_ = connect(&credentials.bob);
    watches_ = open_watches(*bystander_, 3);
  }
  std::unique_ptr<RawClient> watcher() {
    auto client = connect_raw(&credentials.alice);
    EXPECT_TRUE(client->begin_http2());
    EXPECT_TRUE(client->send(FrameWriter().headers(1, hpack_get(watch_path)).text()));
    EXPECT_TRUE(client->read_until([&] { return client->count(frame::data) > 0; }));
    return client;
  }
  double vanished() const {
    return sluice->metric("sluice_client_connections_ended_total", {"vanished"});
  }
  // From the moment on at which it is.
  void expect_found() {
    const Clock::time_point gone = Clock::now();
    EXPECT_TRUE(eventually([&] { return vanished() == 1; }, silence + 4s));
    const Duration took = Clock::now() - gone;
    // An acknowledgement may have been the last that came, a moment before.
    EXPECT_GE(took, silence - 1s);
    RecordProperty("found_after_ms", static_cast<int>(took / 1ms));
    const auto left = static_cast<double>(watches_.size());
    EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_exchanges") == left; }, 2s));
    EXPECT_NE(sluice->child().log().find("a client has vanished without a word"),
              std::string::npos);
    for (const Http2Client::Id id : watches_) EXPECT_FALSE(bystander_->answer(id).over);
  }

  std::unique_ptr<Http2Client> bystander_;
  std::vector<Http2Client::Id> watches_;
};

TEST_F(ClientSilenceTest, AQuietWatcherThatVanishesIsFound) {
  begin();
  const auto client = watcher();
  client->vanish();
  expect_found();
}

// TCP would send to it for a quarter of an hour.
TEST_F(ClientSilenceTest, AWatcherThatVanishesUnderEventsIsFound) {
  begin();
  const auto client = watcher();
  apisim->post("/events?rate=20");
  EXPECT_TRUE(client->read_until([&] { return client->count(frame::data) > 20; }));
  client->vanish();
  expect_found();
}

TEST_F(ClientSilenceTest, OneThatSpeaksHttp1AndVanishesUnderEventsIsFound) {
  begin();
  Http1 client(sluice->address(), &credentials.alice);
  ASSERT_TRUE(client.send(fmt::format("GET {} HTTP/1.1\r\nHost: k\r\n\r\n", watch_path)));
  ASSERT_EQ(client.read_head_only().status, 200);
  apisim->post("/events?rate=20");
  client.raw().vanish();
  expect_found();
}

// Of a process that is stopped, the kernel goes on acknowledging; it closes the window.
TEST_F(ClientSilenceTest, AWatcherThatReadsNothingAndLivesStaysHoweverLongItsWindowIsClosed) {
  begin({"--client-stall-timeout=2s"});
  const auto client = connect_raw(&credentials.alice);
  ASSERT_TRUE(client->begin_http2({{frame::initial_window_size, 0x7fffffff}}));
  client->bound_receive_buffer(32 * 1024);
  FrameWriter writer;
  writer.window_update(0, 0x7fff0000).headers(1, hpack_get(watch_path));
  ASSERT_TRUE(client->send(writer.text(), 5s, false));
  apisim->post("/events?rate=2000");
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_body_bytes") > 65'000; }, 20s));
  apisim->post("/events?rate=0");
  loop->run_for(2 * silence);
  EXPECT_EQ(sluice->metric("sluice_client_connections", {"h2"}), 2.0);
  EXPECT_EQ(vanished(), 0.0);
  const std::size_t before = client->count(frame::data);
  EXPECT_TRUE(client->read_until([&] { return client->count(frame::data) > before + 50; }));
  EXPECT_EQ(client->count(frame::rst_stream), 0U);
  EXPECT_EQ(client->end(), RawClient::End::open);
}

TEST_F(ClientSilenceTest, AQuietWatcherIsAskedOnceUntilItAnswersAndTcpAnswersForIt) {
  begin();
  const auto client = watcher();
  client->read_until([] { return false; }, 2 * silence);
  EXPECT_EQ(client->count(frame::ping), 1U);
  EXPECT_EQ(client->end(), RawClient::End::open);
  EXPECT_EQ(vanished(), 0.0);
  ASSERT_TRUE(client->send(FrameWriter().ping(0, true).text()));
  EXPECT_TRUE(client->read_until([&] { return client->count(frame::ping) == 2; }, silence));
}

// ---------------------------------------------------------------- PINGs of clients

// client-go gives its connection up when a PING is not answered within 15 s.
class PingAnswersTest : public IntegrationTest {
 protected:
  static constexpr Duration answered_within = 100ms;
  static Duration p99(std::vector<Duration> times) {
    if (times.empty()) return Duration::max();
    std::ranges::sort(times);
    return times[(times.size() - 1) * 99 / 100];
  }
  static int milliseconds(Duration duration) {
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(duration) / 1ms);
  }
};

// PINGs on a connection of its own, from a thread of its own, until told to stop.
class Pinger {
 public:
  explicit Pinger(std::unique_ptr<RawClient> client) : client_(std::move(client)) {
    thread_ = std::thread([this] { run(); });
  }
  ~Pinger() { stop(); }
  std::vector<Duration> stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
    return std::move(times_);
  }

 private:
  void run() {
    while (!over_) {
      const std::size_t before = client_->count(frame::ping);
      const Clock::time_point asked = Clock::now();
      if (!client_->send(FrameWriter().ping(7).text())) return;
      if (!client_->read_until([&] { return client_->count(frame::ping) > before; }, 15s)) return;
      times_.push_back(Clock::now() - asked);
      std::this_thread::sleep_for(55ms);  // below the budget of control frames
    }
  }

  std::unique_ptr<RawClient> client_;
  std::vector<Duration> times_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

TEST_F(PingAnswersTest, AreSentWithin100MillisecondsWhileAWorkerIsBusyWithListsAndSomeAreStalled) {
  start({"--workers=1"});
  const auto stalled = connect(&credentials.alice);
  for (int i = 0; i < 30; ++i) {
    stalled->ask({.path = "/api/v1/namespaces/bench-10m/configmaps", .reads = false});
  }
  std::vector<std::unique_ptr<Http2Client>> fast;
  for (int i = 0; i < 4; ++i) fast.push_back(connect(&credentials.bob));
  // A neighbour on this machine may keep everybody waiting: one quiet time is enough.
  Duration other{};
  Duration same{};
  for (int round = 0; round < 3; ++round) {
    auto quiet = connect_raw(&credentials.carol);
    ASSERT_TRUE(quiet->begin_http2());
    Pinger pinger(std::move(quiet));
    for (const auto& client : fast) client->start_pings(55ms);
    const double cpu = sluice->child().cpu_seconds();
    const Clock::time_point began = Clock::now();
    std::vector<Http2Client*> clients;
    for (const auto& client : fast) clients.push_back(client.get());
    std::uint64_t bytes = 0;
    const Load load{.count = 1500,
                    .at_once = 24,
                    .ask = [](std::size_t) -> Ask {
                      return {.path = "/api/v1/namespaces/bench-1m/configmaps"};
                    },
                    .check = [&](std::size_t, const Answer& answer) { bytes += answer.bytes; }};
    EXPECT_EQ(run(clients, load), 1500U);
    const Duration took = Clock::now() - began;
    const double busy =
        (sluice->child().cpu_seconds() - cpu) / std::chrono::duration<double>(took).count();
    other = p99(pinger.stop());
    std::vector<Duration> times;
    for (const auto& client : fast) {
      const std::vector<Duration> its = client->stop_pings();
      times.insert(times.end(), its.begin(), its.end());
    }
    same = p99(times);
    fmt::print(
        "round {}: {} MB in {} ms, proxy {:.0f} % of a core; PING answers p99: another "
        "connection {} ms, the same {} ms (of {})\n",
        round, bytes >> 20, milliseconds(took), busy * 100, milliseconds(other), milliseconds(same),
        times.size());
    EXPECT_GE(times.size(), 20U);
    if (other <= answered_within && same <= answered_within) break;
  }
  EXPECT_LE(milliseconds(other), 100);
  EXPECT_LE(milliseconds(same), 100);
}

// ---------------------------------------------------------------- workers that hang

class StuckWorkerTest : public IntegrationTest {
 protected:
  bool answers(Http2Client& client, Duration within) {
    return client.ready() && client.fetch({.path = std::string(object_path)}, within).status == 200;
  }
  std::string log() { return sluice->child().log(); }
};

TEST_F(StuckWorkerTest, ForThreeSecondsCostsNobodyElseAnythingAndNewcomersAreServedByOthers) {
  start({"--workers=2", "--worker-stall-timeout=30s"});
  std::vector<std::unique_ptr<Http2Client>> clients;
  for (int i = 0; i < 12; ++i) clients.push_back(connect(&credentials.alice));
  for (const auto& client : clients) ASSERT_TRUE(answers(*client, patience));
  const pid_t thread = thread_of(sluice->child().pid(), "worker-0");
  ASSERT_GT(thread, 0);
  std::size_t served = 0;
  {
    FrozenThread frozen(thread);
    if (!frozen.frozen()) GTEST_SKIP() << "ptrace is not permitted here";
    const Clock::time_point began = Clock::now();
    for (const auto& client : clients) served += answers(*client, 250ms) ? 1U : 0U;
    EXPECT_GT(served, 0U);
    EXPECT_LT(served, clients.size());
    // Half of them would wait for worker 0.
    Duration slowest{};
    for (int i = 0; i < 12; ++i) {
      const Clock::time_point asked = Clock::now();
      EXPECT_TRUE(answers(*connect(&credentials.bob), 5s));
      slowest = std::max<Duration>(slowest, Clock::now() - asked);
    }
    EXPECT_LE(slowest, 2500ms);
    RecordProperty("newcomer_ms", static_cast<int>(slowest / 1ms));
    EXPECT_GT(sluice->metric("sluice_client_connections_adopted_total"), 0.0);
    std::this_thread::sleep_until(began + 3s);
    EXPECT_EQ(sluice->page("/livez").status, 200);
  }
  // It goes on where it stood.
  for (const auto& client : clients) EXPECT_TRUE(answers(*client, patience));
  EXPECT_EQ(log().find("a worker is stuck"), std::string::npos);
}

TEST_F(StuckWorkerTest, ForLongerMakesTheServiceManagerRestartTheProcess) {
  ServiceManager manager(1min);
  start_apisim();
  start_sluice({.flags = {"--workers=2", "--worker-stall-timeout=2s"},
                .environment = manager.environment()});
  FrozenThread frozen(thread_of(sluice->child().pid(), "worker-1"));
  if (!frozen.frozen()) GTEST_SKIP() << "ptrace is not permitted here";
  const Clock::time_point began = Clock::now();
  ASSERT_TRUE(eventually([&] { return frozen.take_note_of_end(); }, 8s));
  const Duration took = Clock::now() - began;
  EXPECT_GE(took, 2s);
  EXPECT_LE(took, 4s);
  EXPECT_TRUE(manager.has_barked());
  EXPECT_TRUE(std::ranges::count(manager.taken(), "WATCHDOG=trigger") == 1);
  ASSERT_TRUE(sluice->child().wait_exit(5s));
  EXPECT_EQ(sluice->child().exit_code(), 128 + SIGABRT);
  EXPECT_NE(log().find("msg=\"a worker is stuck\" worker=1"), std::string::npos);
  if (!HasFailure()) sluice.reset();
}

TEST_F(StuckWorkerTest, EndsTheProcessWhereNobodyElseDoes) {
  start({"--workers=2", "--worker-stall-timeout=1s"});
  FrozenThread frozen(thread_of(sluice->child().pid(), "worker-0"));
  if (!frozen.frozen()) GTEST_SKIP() << "ptrace is not permitted here";
  ASSERT_TRUE(eventually([&] { return sluice->page("/livez").status == 500; }, 3s));
  ASSERT_TRUE(eventually([&] { return frozen.take_note_of_end(); }, 8s));
  ASSERT_TRUE(sluice->child().wait_exit(5s));
  EXPECT_EQ(sluice->child().exit_code(), 128 + SIGABRT);
  EXPECT_NE(log().find("msg=\"the process ends itself\" why=\"a worker is stuck"),
            std::string::npos);
  if (!HasFailure()) sluice.reset();
}

// The machine stood still, not a worker.
TEST_F(StuckWorkerTest, IsNobodyInAProcessThatWasStoppedAsAWhole) {
  ServiceManager manager(1min);
  start_apisim();
  start_sluice({.flags = {"--workers=2", "--worker-stall-timeout=1s"},
                .environment = manager.environment()});
  const auto client = connect(&credentials.alice);
  ASSERT_TRUE(answers(*client, patience));
  sluice->child().signal(SIGSTOP);
  loop->run_for(5s);
  sluice->child().signal(SIGCONT);
  EXPECT_TRUE(answers(*client, patience));
  loop->run_for(1s);
  EXPECT_EQ(log().find("a worker is stuck"), std::string::npos);
  EXPECT_EQ(std::ranges::count(manager.taken(), "WATCHDOG=trigger"), 0);
}

}  // namespace
}  // namespace sluice::test
