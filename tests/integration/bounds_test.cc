// SPDX-License-Identifier: GPL-3.0-or-later
// Every number that may be written on the command line is one that the program can live with: it
// starts, serves and drains, or says in a sentence why not.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "harness.h"
#include "sluice/config/flags.h"

namespace sluice::test {
namespace {

using config::FlagRow;

struct Attempt {
  std::string what;
  Flags flags;
  bool serves = true;  // false: a time-out so short that nothing may come of it
};

// What must come along, so that the bound is no mistake of its own.
Flags companions(std::string_view name, bool high) {
  static const std::map<std::pair<std::string_view, bool>, Flags> all = {
      {{"http2-stream-window-bytes", true},
       {"--http2-stream-window-bytes-max=2147483647",
        "--http2-connection-window-bytes=2147483647"}},
      {{"http2-stream-window-bytes-max", true}, {"--http2-connection-window-bytes=2147483647"}},
      {{"http2-stream-window-bytes-max", false}, {"--http2-stream-window-bytes=16KiB"}},
      {{"http2-connection-window-bytes", false},
       {"--http2-stream-window-bytes=16KiB", "--http2-stream-window-bytes-max=16KiB"}},
      {{"replay-body-bytes", true}, {"--replay-body-bytes-per-worker=64GiB"}},
      {{"replay-body-bytes-per-worker", false}, {"--replay-body-bytes=0"}},
      {{"backend-streams-per-connection", false}, {"--suspect-streams-per-connection=1"}},
      {{"backend-ping-interval", false}, {"--backend-ping-timeout=100ms"}},
      {{"backend-ping-timeout", true}, {"--backend-ping-interval=1h"}},
      {{"probe-interval", false}, {"--probe-timeout=500ms"}},
      {{"probe-timeout", true}, {"--probe-interval=5m"}},
      {{"backend-idle-timeout", true}, {"--backend-connection-age-max=720h"}},
      {{"backend-connection-age-max", false}, {"--backend-idle-timeout=10s"}},
      {{"backend-connect-timeout", true}, {"--request-timeout=24h"}},
      {{"request-timeout", false}, {"--backend-connect-timeout=1ms"}},
  };
  const auto found = all.find({name, high});
  return found == all.end() ? Flags{} : found->second;
}

class BoundsTest : public IntegrationTest {
 protected:
  // Several processes at a time: what takes time is waiting.
  void try_all(const std::vector<Attempt>& attempts) {
    constexpr std::size_t at_once = 8;
    for (std::size_t begin = 0; begin < attempts.size(); begin += at_once) {
      const std::size_t end = std::min(begin + at_once, attempts.size());
      std::vector<std::unique_ptr<Sluice>> proxies;
      for (std::size_t i = begin; i < end; ++i) {
        proxies.push_back(std::make_unique<Sluice>(
            apisim->servers(), Sluice::Plan{.flags = attempts[i].flags, .wait_ready = false}));
      }
      for (std::size_t i = begin; i < end; ++i) serve(attempts[i], *proxies[i - begin]);
      for (std::size_t i = begin; i < end; ++i) drain(attempts[i], *proxies[i - begin]);
    }
  }

  void serve(const Attempt& attempt, Sluice& proxy) {
    SCOPED_TRACE(attempt.what);
    ASSERT_TRUE(proxy.wait_serving()) << proxy.child().log();
    if (!attempt.serves) return;
    ASSERT_TRUE(proxy.wait_page("/readyz", 200)) << proxy.child().log();
    Http2Client client(*loop, proxy.address(), tls_);
    ASSERT_TRUE(client.ready()) << client.end().context;
    EXPECT_EQ(client.fetch({.path = std::string(object_path)}).status, 200);
    const Answer& post = client.fetch({.method = "POST",
                                       .path = "/api/v1/namespaces/default/configmaps",
                                       .fields = {{"content-type", "application/json"}},
                                       .body = std::string(100'000, ' ') + "{}"});
    EXPECT_TRUE(post.whole() && post.status != 0) << post.describe();
    client.terminate();
  }

  static void drain(const Attempt& attempt, Sluice& proxy) {
    SCOPED_TRACE(attempt.what);
    proxy.child().signal(SIGTERM);
    // The longest delays are not waited for.
    if (!proxy.child().wait_exit(5s)) proxy.child().signal(SIGTERM);
    EXPECT_TRUE(proxy.child().wait_exit(20s));
    EXPECT_EQ(proxy.child().exit_code(), 0) << proxy.child().log();
  }

  const std::shared_ptr<const tls::ClientContext> tls_ = client_tls(&credentials.alice);
};

TEST_F(BoundsTest, EveryFlagStartsServesAndDrainsAtBothItsBounds) {
  start_apisim();
  std::vector<Attempt> attempts;
  for (const FlagRow& row : config::flag_rows()) {
    if (row.low.empty()) continue;
    // As many as the machine has descriptors and memory for: see below.
    const bool machine = row.name == "workers" || row.name == "client-connections-max";
    for (const bool high : {false, true}) {
      if (machine && high) continue;
      Attempt attempt{fmt::format("--{}={}", row.name, high ? row.high : row.low),
                      {},
                      row.kind != FlagRow::Kind::duration};
      attempt.flags = companions(row.name, high);
      attempt.flags.push_back(attempt.what);
      attempts.push_back(std::move(attempt));
    }
  }
  EXPECT_GT(attempts.size(), 60U);
  try_all(attempts);
}

TEST_F(BoundsTest, FlagsThatShareABudgetServeAtTheirBoundsTogether) {
  start_apisim();
  const Flags windows = {"--http2-stream-window-bytes=2147483647",
                         "--http2-stream-window-bytes-max=2147483647",
                         "--http2-connection-window-bytes=2147483647"};
  const Flags small_windows = {"--http2-stream-window-bytes=16KiB",
                               "--http2-stream-window-bytes-max=16KiB",
                               "--http2-connection-window-bytes=16KiB"};
  std::vector<Attempt> attempts;
  const auto add = [&](Flags flags, const Flags& more = {}) {
    flags.insert(flags.end(), more.begin(), more.end());
    attempts.push_back({fmt::format("{}", fmt::join(flags, " ")), flags});
  };
  add(windows, {"--body-bytes-per-worker=1MiB", "--http2-max-streams-per-connection=100000"});
  add(windows, {"--backend-streams-per-connection=10000", "--send-buffer-bytes=36KiB"});
  add(small_windows, {"--body-bytes-per-worker=1MiB", "--http2-max-streams-per-connection=1"});
  add(small_windows, {"--send-buffer-bytes=4MiB", "--receive-buffer-bytes=256KiB"});
  // What 256 streams of a backend's connection may be ahead, around the largest window of all.
  for (const char* size : {"8MiB", "12MiB", "16MiB"}) {
    add({fmt::format("--http2-stream-window-bytes={}", size),
         "--http2-stream-window-bytes-max=16MiB"});
  }
  for (const char* count : {"8", "32768"}) {
    for (const char* size : {"4KiB", "256KiB"}) {
      add({fmt::format("--receive-buffers={}", count),
           fmt::format("--receive-buffer-bytes={}", size)});
    }
  }
  for (const char* send : {"36KiB", "64KiB", "4MiB"}) {
    for (const char* receive : {"4KiB", "256KiB"}) {
      add({fmt::format("--send-buffer-bytes={}", send),
           fmt::format("--receive-buffer-bytes={}", receive)});
    }
  }
  for (const char* fields : {"16", "65536"}) {
    for (const char* bytes : {"4KiB", "1048575"}) {
      add({fmt::format("--request-head-fields-max={}", fields),
           fmt::format("--request-head-bytes-max={}", bytes)});
    }
  }
  add({"--replay-body-bytes=1GiB", "--replay-body-bytes-per-worker=64GiB",
       "--body-bytes-per-worker=1MiB"});
  add({"--replay-body-bytes=0", "--replay-body-bytes-per-worker=0", "--replay-budget-percent=0",
       "--replay-tries=0"});
  add({"--backend-streams-per-connection=1", "--suspect-streams-per-connection=1",
       "--backend-connections-max=1", "--backend-draining-connections-max=1"});
  add({"--backend-streams-per-connection=10000", "--suspect-streams-per-connection=100",
       "--backend-connections-max=65536", "--backend-draining-connections-max=4096"});
  try_all(attempts);
}

// More than the machine has: a sentence, never an abort.
TEST_F(BoundsTest, WhatTheMachineCannotGiveIsASentence) {
  start_apisim();
  for (const std::string flag : {"--workers=1024", "--client-connections-max=16000000"}) {
    SCOPED_TRACE(flag);
    Sluice proxy(apisim->servers(), {.flags = {flag}, .descriptors = 1024, .wait_ready = false});
    ASSERT_TRUE(proxy.child().wait_exit(20s));
    EXPECT_LE(*proxy.child().exit_code(), 2) << proxy.child().log();
    EXPECT_GE(*proxy.child().exit_code(), 1);
    EXPECT_TRUE(proxy.child().log().contains("descriptor") ||
                proxy.child().log().contains("Too many open files"))
        << proxy.child().log();
  }
}

}  // namespace
}  // namespace sluice::test
