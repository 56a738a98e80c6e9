// SPDX-License-Identifier: GPL-3.0-or-later
// One process takes over from another, and no client notices; and sockets that a service manager
// passes.
//
//   SLUICE_TAKE_OVERS=n   so many in a row instead of 3
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "cluster_folder.h"
#include "dns_server.h"
#include "eager_client.h"
#include "harness.h"
#include "service_manager.h"
#include "sluice/io/socket.h"

namespace sluice::test {
namespace {

// New clients all the time: each connects, asks one thing with its first bytes, and goes.
class Newcomers {
 public:
  Newcomers(ClientLoop& loop, const io::Address& address,
            std::shared_ptr<const tls::ClientContext> tls, std::size_t at_once)
      : loop_(loop), address_(address), tls_(std::move(tls)), at_once_(at_once) {
    FrameWriter frames;
    begin_frames(frames).headers(1, hpack_get(object_path));
    first_ = frames.text();
  }

  void turn() {
    std::erase_if(clients_, [&](const std::unique_ptr<EagerClient>& client) {
      if (!client->over(1)) return false;
      client->answered() == 1 ? ++served : ++lost;
      return true;
    });
    while (clients_.size() < at_once_) {
      clients_.push_back(std::make_unique<EagerClient>(loop_, address_, tls_, first_));
    }
  }
  bool finish() {
    return loop_.run_until(
        [&] {
          at_once_ = 0;
          turn();
          return clients_.empty();
        },
        std::chrono::seconds(20));
  }

  std::size_t served = 0;
  std::size_t lost = 0;

 private:
  ClientLoop& loop_;
  io::Address address_;
  std::shared_ptr<const tls::ClientContext> tls_;
  std::size_t at_once_;
  std::string first_;
  std::vector<std::unique_ptr<EagerClient>> clients_;
};

class TakeOverTest : public ClusterFolderTest {
 protected:
  // Processes that take over are orphans: they become ours, so that they can be waited for.
  void SetUp() override { ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0); }

  void TearDown() override {
    for (const pid_t process : successors()) {
      if (gone(process)) continue;
      for (const int number : {SIGTERM, SIGTERM, SIGKILL}) {  // in order, at once, by force
        send(process, number);
        if (eventually([&] { return gone(process); }, number == SIGKILL ? 5s : 2s)) break;
      }
    }
    for (const auto& [process, code] : ended_) {
      const bool fails = std::ranges::count(may_fail, process) > 0;
      EXPECT_TRUE(fails || code == 0) << "process " << process << " has ended with " << code;
    }
    IntegrationTest::TearDown();
  }

  static std::vector<pid_t> numbers_behind(const std::string& log, std::string_view text) {
    std::vector<pid_t> all;
    for (std::size_t at = log.find(text); at != std::string::npos; at = log.find(text, at + 1)) {
      const std::size_t pid = log.find(" pid=", at);
      if (pid < log.find('\n', at)) all.push_back(std::atoi(log.c_str() + pid + 5));
    }
    return all;
  }
  std::string log() { return sluice->child().log(); }
  // Those that were started to take over, in order; and those that have.
  std::vector<pid_t> successors() {
    return sluice ? numbers_behind(log(), "a new process is to take over") : std::vector<pid_t>();
  }
  std::vector<pid_t> taken_over() { return numbers_behind(log(), "\"taken over\""); }
  std::size_t logged(std::string_view text) {
    const std::string all = log();
    std::size_t count = 0;
    for (std::size_t at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) {
      ++count;
    }
    return count;
  }

  // Whether it has ended; its exit code is kept.
  bool gone(pid_t process) {
    if (process == sluice->child().pid()) return sluice->child().exit_code().has_value();
    if (ended_.contains(process)) return true;
    int status = 0;
    if (::waitpid(process, &status, WNOHANG) != process) return false;
    ended_[process] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
  }

  // Never to a number that stands for many: a take-over that failed has none.
  static void send(pid_t process, int number) {
    ASSERT_GT(process, 1) << "there is no such process";
    ::kill(process, number);
  }

  // Until the next one has taken over from `process`, which is returned.
  pid_t take_over(pid_t process) {
    const std::size_t before = taken_over().size();
    send(process, SIGUSR2);
    EXPECT_TRUE(eventually([&] { return taken_over().size() > before; }, 20s)) << log();
    return taken_over().empty() ? -1 : taken_over().back();
  }
  bool is_served() {
    const auto client = connect(&credentials.alice);
    return client->ready() && client->fetch({.path = std::string(object_path)}).status == 200;
  }

  std::vector<pid_t> may_fail;  // whose exit codes mean nothing

 private:
  std::map<pid_t, int> ended_;
};

// Watches that begin again where they have ended, as client-go's do.
class Watcher {
 public:
  Watcher(std::function<std::unique_ptr<Http2Client>()> connect, std::string revision)
      : connect_(std::move(connect)), revision_(std::move(revision)) {
    begin();
  }
  void turn() {
    for (const Http2Client::Id id : connection_->take_over()) {
      if (id != watch_) continue;
      const Answer& answer = connection_->answer(id);
      ++(answer.ending == Ending::end_stream ? ended : lost);
      if (answer.ending != Ending::end_stream) ADD_FAILURE() << answer.describe();
      again_ = true;
    }
    if (again_ || !connection_->ready()) begin();
  }
  bool open() const {
    return !again_ && connection_->answer(watch_).status == 200 &&
           !connection_->answer(watch_).over;
  }
  std::size_t ended = 0;
  std::size_t lost = 0;

 private:
  void begin() {
    if (!connection_ || !connection_->can_ask()) {
      if (connection_) before_.push_back(std::move(connection_));
      connection_ = connect_();
    }
    again_ = !connection_->can_ask();
    if (again_) return;
    watch_ = connection_->ask({.path = "/api/v1/pods?watch=1&allowWatchBookmarks=true&"
                                       "timeoutSeconds=300&resourceVersion=" +
                                       revision_});
  }

  std::function<std::unique_ptr<Http2Client>()> connect_;
  std::string revision_;
  std::unique_ptr<Http2Client> connection_;
  std::vector<std::unique_ptr<Http2Client>> before_;
  Http2Client::Id watch_ = 0;
  bool again_ = false;
};

TEST_F(TakeOverTest, NoClientNoticesWhileOneProcessAfterTheOtherTakesOver) {
  const char* wanted = std::getenv("SLUICE_TAKE_OVERS");
  const int times = wanted != nullptr ? std::atoi(wanted) : 3;
  ServiceManager manager(2s);
  start_apisim({"--pods=20"});
  start_sluice({.flags = {"--workers=2", "--drain-timeout=3s", "--shutdown-delay-duration=5s"},
                .environment = manager.environment()});
  std::vector<Watcher> watchers;
  const std::string revision = apisim->get("/counters").find("revision")->to_string();
  for (int i = 0; i < 20; ++i) {
    watchers.emplace_back([this] { return connect(&credentials.alice); }, revision);
  }
  const std::uint64_t lists = apisim->total({"requests", "pods", "list"});
  Newcomers newcomers(*loop, sluice->address(), client_tls(&credentials.alice), 20);
  const auto turn = [&] {
    newcomers.turn();
    for (Watcher& watcher : watchers) watcher.turn();
    loop->run_for(1ms);
  };
  pid_t process = sluice->child().pid();
  std::size_t descriptors = 0;
  const std::size_t pipes = descriptors_of(process, "pipe:");  // of whoever runs this test
  for (int i = 0; i < times; ++i) {
    const Clock::time_point begin = Clock::now();
    while (Clock::now() - begin < 300ms) turn();
    ASSERT_EQ(manager.main_process(), process);
    send(process, SIGUSR2);
    // By then the old one is gone: its watches have ended within the window.
    while (!gone(process) && Clock::now() - begin < 30s) turn();
    ASSERT_TRUE(gone(process)) << log();
    ASSERT_NE(manager.main_process(), process);
    process = manager.main_process();
    ASSERT_EQ(taken_over().back(), process);
    EXPECT_EQ(manager.barriers(), i + 1);
    // Each ring is one's own: one for each worker and one of the control thread.
    EXPECT_EQ(descriptors_of(process, "io_uring"), 3U);
    if (i == 0) descriptors = descriptors_of(process, "anon_inode");
    EXPECT_EQ(descriptors_of(process, "anon_inode"), descriptors);
    EXPECT_EQ(descriptors_of(process, "pipe:"), pipes);
  }
  EXPECT_TRUE(loop->run_until(
      [&] {
        for (Watcher& watcher : watchers) watcher.turn();
        return std::ranges::all_of(watchers, [](const Watcher& w) { return w.open(); });
      },
      10s));
  EXPECT_TRUE(newcomers.finish());
  EXPECT_EQ(newcomers.lost, 0U);
  EXPECT_GT(newcomers.served, static_cast<std::size_t>(times) * 10);
  for (const Watcher& watcher : watchers) EXPECT_EQ(watcher.lost, 0U);
  EXPECT_EQ(apisim->total({"requests", "pods", "list"}), lists);
  // What systemd sees: a service that runs and never stops.
  EXPECT_FALSE(manager.has_barked());
  for (const std::string& message : manager.taken()) {
    EXPECT_FALSE(message.contains("STOPPING=1")) << message;
  }
  for (const std::string& message : manager.dropped()) {
    // Of a new one that is not known yet.
    EXPECT_TRUE(message.ends_with(": WATCHDOG=1")) << message;
  }
  RecordProperty("connections", static_cast<int>(newcomers.served));
}

TEST_F(TakeOverTest, TheNewProcessResolvesNamesForItselfBeforeItAccepts) {
  DnsServer dns;
  start_apisim();
  const io::Address server = apisim->servers()[0];
  dns.set("api.test", {.ipv4 = {server.host()}, .ttl = 300, .delay = 300ms});
  sluice.emplace(std::vector<io::Address>{},
                 Sluice::Plan{.flags = {"--backend=api.test:" + std::to_string(server.port()),
                                        "--dns-server=" + dns.address().to_string()}});
  ASSERT_TRUE(is_served());
  const std::size_t asked = dns.asked("api.test");
  take_over(sluice->child().pid());
  EXPECT_TRUE(is_served());
  EXPECT_GT(dns.asked("api.test"), asked);
}

TEST_F(TakeOverTest, WhatRunsOnTheOldProcessRunsOnThroughItsDrain) {
  start({"--drain-timeout=4s"}, {"--pods=20"});
  const auto client = connect(&credentials.alice);
  const auto watches = open_watches(*client, 10);
  loop->run_for(2s);
  apisim->post("/servers/all/set?latency=700ms");
  const auto slow = client->ask({.path = std::string(object_path)});
  loop->run_for(100ms);
  apisim->post("/servers/all/set?latency=0ms");
  const pid_t old = sluice->child().pid();
  const Clock::time_point begin = Clock::now();
  const pid_t now = take_over(old);
  EXPECT_NE(now, old);
  // The new one answers for both: metrics, readiness and newcomers.
  EXPECT_EQ(sluice->page("/readyz").status, 200);
  EXPECT_TRUE(is_served());
  EXPECT_FALSE(gone(old));
  EXPECT_EQ(client->wait(slow).status, 200) << client->answer(slow).describe();
  EXPECT_TRUE(loop->run_until(
      [&] {
        return std::ranges::all_of(watches, [&](auto id) { return client->answer(id).over; });
      },
      10s));
  Clock::time_point first = Clock::time_point::max();
  Clock::time_point last{};
  for (const Http2Client::Id id : watches) {
    EXPECT_EQ(client->answer(id).ending, Ending::end_stream) << client->answer(id).describe();
    first = std::min(first, client->answer(id).ended_at);
    last = std::max(last, client->answer(id).ended_at);
  }
  EXPECT_GE(last - first, 500ms);
  EXPECT_EQ(client->goaways().size(), 2U);
  EXPECT_TRUE(eventually([&] { return gone(old); }, 10s));
  EXPECT_LE(Clock::now() - begin, 12s);
  EXPECT_EQ(sluice->child().exit_code(), 0);
  EXPECT_FALSE(gone(now));
  EXPECT_TRUE(is_served());
}

// A program at a path of its own, so that it can be replaced.
class ReplacedProgramTest : public TakeOverTest {
 protected:
  void put_program() {
    std::filesystem::copy_file(sluice_binary(), next());
    std::filesystem::rename(next(), path());
  }
  void put_script(const std::string& text) {
    write_file(next(), "#!/bin/sh\n" + text + "\n");
    ::chmod(next().c_str(), 0755);
    std::filesystem::rename(next(), path());
  }
  std::string path() const { return directory_.file("sluice"); }
  std::string next() const { return directory_.file("next"); }

  // No take-over, and why.
  void expect_failure(std::string_view why) {
    const std::size_t before = logged("no take-over: this process serves on");
    sluice->child().signal(SIGUSR2);
    EXPECT_TRUE(
        eventually([&] { return logged("no take-over: this process serves on") > before; }, 15s));
    EXPECT_TRUE(log().contains(why)) << log();
    EXPECT_TRUE(is_served());
    EXPECT_EQ(sluice->page("/readyz").status, 200);
    EXPECT_TRUE(taken_over().empty());
    for (const pid_t process : successors()) {
      EXPECT_TRUE(eventually([&] { return gone(process); }, 5s));
      may_fail.push_back(process);
    }
  }

 private:
  TemporaryDirectory directory_;
};

TEST_F(ReplacedProgramTest, OneThatFailsLeavesTheOldProcessServingAndTheNextMayDoBetter) {
  put_program();
  const std::string certificate = credentials.file("certificate-to-break.crt");
  write_file(certificate, credentials.gateway.pem());
  start_apisim();
  start_sluice(
      {.flags = {"--tls-cert-file=" + certificate, "--take-over-timeout=3s"}, .binary = path()});
  const auto client = connect(&credentials.alice);
  const auto watches = open_watches(*client, 3);
  std::filesystem::remove(path());
  expect_failure("No such file");
  write_file(path(), "no program");
  expect_failure("Permission denied");
  put_script("exit 3");
  expect_failure("it ended before it was ready");
  put_script("exec sleep 600");
  expect_failure("it was not ready within 3s");
  put_program();
  write_file(certificate, "nonsense");
  expect_failure("tls-cert-file");
  write_file(certificate, credentials.gateway.pem());
  for (const Http2Client::Id id : watches) EXPECT_FALSE(client->answer(id).over);
  EXPECT_TRUE(client->goaways().empty());
  EXPECT_GT(take_over(sluice->child().pid()), 0);
  EXPECT_TRUE(is_served());
}

TEST_F(ReplacedProgramTest, TheOneAtThePathIsRunAndNotTheOneThatWasThere) {
  put_program();
  start_apisim();
  start_sluice({.binary = path()});
  put_program();
  const pid_t now = take_over(sluice->child().pid());
  EXPECT_EQ(std::filesystem::read_symlink(fmt::format("/proc/{}/exe", now)), path());
  EXPECT_TRUE(eventually([&] { return gone(sluice->child().pid()); }, 10s));
  // And again, from one that was itself started so.
  put_program();
  const pid_t third = take_over(now);
  EXPECT_EQ(std::filesystem::read_symlink(fmt::format("/proc/{}/exe", third)), path());
  EXPECT_TRUE(is_served());
}

TEST_F(ReplacedProgramTest, ASecondSignalWaitsForTheFirst) {
  put_script("exec sleep 600");
  put_program();
  start_apisim();
  start_sluice({.flags = {"--take-over-timeout=2s"}, .binary = path()});
  put_script("exec sleep 600");
  sluice->child().signal(SIGUSR2);
  ASSERT_TRUE(eventually([&] { return successors().size() == 1; }, 5s));
  sluice->child().signal(SIGUSR2);
  EXPECT_TRUE(eventually([&] { return logged("a take-over waits") == 1; }, 5s));
  EXPECT_EQ(successors().size(), 1U);
  may_fail = successors();
  put_program();
  EXPECT_TRUE(eventually([&] { return taken_over().size() == 1; }, 15s)) << log();
  EXPECT_EQ(successors().size(), 2U);
}

TEST_F(TakeOverTest, ThereAreTwoProcessesAtMost) {
  start({"--drain-timeout=6s"}, {"--pods=20"});
  const auto client = connect(&credentials.alice);
  open_watches(*client, 3);
  const pid_t first = sluice->child().pid();
  const pid_t second = take_over(first);
  // To the one that serves now, while the one before still drains.
  send(second, SIGUSR2);
  EXPECT_TRUE(eventually([&] { return logged("a take-over waits") == 1; }, 5s));
  loop->run_for(500ms);
  EXPECT_FALSE(gone(first));
  EXPECT_EQ(successors().size(), 1U);
  EXPECT_TRUE(eventually([&] { return gone(first); }, 15s));
  EXPECT_TRUE(eventually([&] { return taken_over().size() == 2; }, 10s)) << log();
  EXPECT_TRUE(eventually([&] { return gone(second); }, 15s));
  EXPECT_TRUE(is_served());
}

TEST_F(TakeOverTest, TheWishThatReachesAProcessThatDrainsIsItsSuccessors) {
  start({"--drain-timeout=4s"}, {"--pods=20"});
  const auto client = connect(&credentials.alice);
  open_watches(*client, 3);
  const pid_t first = sluice->child().pid();
  const pid_t second = take_over(first);
  send(first, SIGUSR2);
  EXPECT_TRUE(eventually([&] { return taken_over().size() == 2; }, 20s)) << log();
  EXPECT_TRUE(gone(first));
  EXPECT_TRUE(eventually([&] { return gone(second); }, 15s));
  EXPECT_TRUE(is_served());
}

TEST_F(TakeOverTest, OtherNumbersOfWorkersServeAllSockets) {
  const std::string config = credentials.file("take-over.conf");
  const auto workers = [&](int number) { write_file(config, fmt::format("workers={}\n", number)); };
  workers(1);
  start({"--config=" + config});
  pid_t process = sluice->child().pid();
  Newcomers newcomers(*loop, sluice->address(), client_tls(&credentials.alice), 10);
  for (const int number : {3, 2, 4, 1}) {
    workers(number);
    const std::size_t before = taken_over().size();
    send(process, SIGUSR2);
    EXPECT_TRUE(loop->run_until(
        [&] {
          newcomers.turn();
          return taken_over().size() > before && gone(process);
        },
        60s))
        << log();
    process = taken_over().back();
    EXPECT_EQ(descriptors_of(process, "io_uring"), static_cast<std::size_t>(number) + 1);
    const std::size_t served = newcomers.served;
    EXPECT_TRUE(loop->run_until(
        [&] {
          newcomers.turn();
          return newcomers.served >= served + 100;
        },
        60s));
  }
  EXPECT_TRUE(newcomers.finish());
  EXPECT_EQ(newcomers.lost, 0U);
}

TEST_F(TakeOverTest, ATokenThatWasProvenIsNoStrangersThereafter) {
  start();
  const auto ask = [&] {
    const auto client = connect();
    EXPECT_EQ(client->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  };
  const auto suspects = [&] {
    return sluice->metric("sluice_backend_connects_total", {"pool=\"suspect\""});
  };
  ask();
  EXPECT_TRUE(eventually([&] { return suspects() > 0; }, 5s));
  EXPECT_GT(take_over(sluice->child().pid()), 0);
  ask();
  loop->run_for(1200ms);  // counters are published twice a second
  EXPECT_EQ(suspects(), 0);
}

// Without a front-proxy pair nobody can ask it.
TEST_F(TakeOverTest, AnApiServerThatCameBackIsStillNewThereafter) {
  start_apisim();
  start_sluice({.identities = false});
  const auto backends = [&] { return sluice->page("/backends").body; };
  EXPECT_FALSE(backends().contains("ageSeconds"));
  apisim->post("/servers/1/kill");
  EXPECT_TRUE(eventually([&] { return backends().contains("not_ready"); }, 10s));
  apisim->post("/servers/1/restart");
  EXPECT_TRUE(eventually([&] { return backends().contains("ageSeconds"); }, 10s));
  EXPECT_GT(take_over(sluice->child().pid()), 0);
  EXPECT_TRUE(eventually([&] { return backends().contains("ageSeconds"); }, 10s)) << backends();
}

TEST_F(TakeOverTest, SigtermWhileANewProcessBeginsEndsBoth) {
  start({"--shutdown-delay-duration=1s"});
  apisim->post("/servers/all/freeze");  // so that the new one waits for its backends
  sluice->child().signal(SIGUSR2);
  ASSERT_TRUE(eventually([&] { return successors().size() == 1; }, 5s));
  sluice->child().signal(SIGTERM);
  const pid_t process = successors().back();
  EXPECT_TRUE(eventually([&] { return gone(process); }, 5s));
  may_fail.push_back(process);
  EXPECT_TRUE(sluice->child().wait_exit(10s));
  EXPECT_EQ(sluice->child().exit_code(), 0);
  EXPECT_TRUE(taken_over().empty());
}

TEST_F(TakeOverTest, TheNewProcessStopsAsAnyOther) {
  start({"--shutdown-delay-duration=0s", "--drain-timeout=1s"});
  const pid_t process = take_over(sluice->child().pid());
  EXPECT_TRUE(eventually([&] { return gone(sluice->child().pid()); }, 10s));
  send(process, SIGTERM);
  EXPECT_TRUE(eventually([&] { return gone(process); }, 10s));
  const auto client = connect(&credentials.alice);
  EXPECT_FALSE(client->ready());
}

TEST_F(TakeOverTest, AClusterThatIsServedIsNotGivenUpForAMistakeInItsFile) {
  start_apisim();
  const TemporaryDirectory clusters;
  const auto put = [&](std::string_view name, std::string_view more) {
    write_file(clusters.file(fmt::format("{}.conf", name)),
               fmt::format("server-names={}.example\ntls-cert-file={}\ntls-private-key-file={}\n"
                           "backend={}\nbackend-ca-file={}\n"
                           "backend-server-name=kubernetes.default.svc.cluster.local\n{}",
                           name, credentials.file("gateway.crt"), credentials.file("gateway.key"),
                           apisim->servers()[0].to_string(), credentials.file("ca.crt"), more));
  };
  put("one", "default=true\n");
  put("two", "");
  put("three", "no-such-flag=1\n");  // as it was when the process began
  start_sluice({.flags = {"--clusters=" + clusters.path()}, .cluster_flags = false});
  put("two", "no-such-flag=1\n");
  sluice->child().signal(SIGUSR2);
  EXPECT_TRUE(eventually([&] { return logged("no take-over: this process serves on") == 1; }, 10s));
  EXPECT_TRUE(log().contains("the cluster two is served")) << log();
  EXPECT_TRUE(eventually([&] { return gone(successors().back()); }, 5s));
  may_fail = successors();
  put("two", "");
  EXPECT_GT(take_over(sluice->child().pid()), 0);
}

// --- clusters' files, changed before and meanwhile

class ClusterTakeOverTest : public ReplacedProgramTest {
 protected:
  // With the files that were put.
  void begin(Flags flags = {}) {
    put_program();
    flags.push_back(clusters());
    flags.push_back("--workers=2");
    start_sluice({.flags = flags, .cluster_flags = false, .wait_ready = false, .binary = path()});
    ASSERT_TRUE(sluice->wait_serving());
  }
  std::string page() const { return sluice->page("/clusters").body; }
  double reloads() const {
    return sluice->metric("sluice_config_reloads_total", {"result=\"taken_over\""});
  }
  void serve(std::vector<Newcomers*> newcomers, std::size_t count) {
    for (Newcomers* each : newcomers) count += each->served;
    EXPECT_TRUE(loop->run_until(
        [&] {
          std::size_t served = 0;
          for (Newcomers* each : newcomers) {
            each->turn();
            served += each->served;
          }
          return served >= count;
        },
        60s));
  }
  // The next process has taken over, and this one is gone.
  pid_t take_over_beside(pid_t process, std::vector<Newcomers*> newcomers) {
    const std::size_t before = taken_over().size();
    send(process, SIGUSR2);
    EXPECT_TRUE(loop->run_until(
        [&] {
          for (Newcomers* each : newcomers) each->turn();
          return taken_over().size() > before && gone(process);
        },
        60s))
        << log();
    return taken_over().empty() ? -1 : taken_over().back();
  }
};

TEST_F(ClusterTakeOverTest, AClustersOwnAddressIsHandedOnToWhoseItIsAndNobodyIsRefusedThere) {
  start_apisim();
  const io::Address own = free_address();
  const std::string listen = "listen=" + own.to_string() + "\n";
  put("one", without_backends() + backend(0) + listen);
  put("two", without_backends() + backend(1) + asked_for());
  begin({"--drain-timeout=1s"});
  const auto asked = [&] { return apisim->counts({"requests", "configmaps", "get"}); };
  Newcomers at_own(*loop, own, client_tls(&credentials.alice), 10);
  Newcomers at_all(*loop, sluice->address(), client_tls(&credentials.alice), 10);
  serve({&at_own, &at_all}, 100);
  pid_t process = take_over_beside(sluice->child().pid(), {&at_own, &at_all});
  serve({&at_own, &at_all}, 100);
  // One that comes before it in order: the numbers are others.
  put("first", without_backends() + backend(2) + "server-names=first.example\n");
  process = take_over_beside(process, {&at_own, &at_all});
  serve({&at_own, &at_all}, 100);
  EXPECT_TRUE(at_own.finish());
  EXPECT_EQ(at_own.lost, 0U);
  EXPECT_EQ(asked()[0], at_own.served);
  EXPECT_EQ(asked()[2], 0U);
  // It is another cluster's from now on.
  put("one", without_backends() + backend(0) + "server-names=one.example\n");
  put("first", without_backends() + backend(2) + listen);
  process = take_over_beside(process, {&at_all});
  Newcomers at_its_new_owners(*loop, own, client_tls(&credentials.alice), 10);
  serve({&at_its_new_owners}, 50);
  EXPECT_TRUE(at_its_new_owners.finish());
  EXPECT_TRUE(at_all.finish());
  EXPECT_EQ(at_its_new_owners.lost, 0U);
  EXPECT_EQ(at_all.lost, 0U);
  EXPECT_EQ(asked(),
            (std::vector<std::uint64_t>{at_own.served, at_all.served, at_its_new_owners.served}));
}

TEST_F(ClusterTakeOverTest, AnAddressThatAClusterNamesNoMoreIsGivenUpAndANewOneIsOpened) {
  start_apisim();
  const io::Address before = free_address();
  const io::Address after = free_address();
  put("one", lines() + "listen=" + before.to_string() + "\n");
  put("two", lines() + asked_for());
  begin({"--drain-timeout=1s"});
  put("one", lines() + "listen=" + after.to_string() + "\n");
  EXPECT_TRUE(
      eventually([&] { return log().contains("counts from the next start or take-over"); }, 20s));
  const RawClient still(before, nullptr, false);
  EXPECT_TRUE(still.connected());
  take_over_beside(sluice->child().pid(), {});
  EXPECT_EQ(logged("no cluster listens on an address any more"), 2U);  // each worker had its own
  EXPECT_FALSE(RawClient(before, nullptr, false).connected());
  Http2Client client(*loop, after, client_tls(&credentials.alice));
  EXPECT_TRUE(client.ready());
  EXPECT_EQ(client.fetch({.path = std::string(object_path)}).status, 200);
}

TEST_F(ClusterTakeOverTest, TheSocketsOfAClusterThatHasGoneAreNotHandedOver) {
  start_apisim();
  const io::Address own = free_address();
  put("one", lines() + "listen=" + own.to_string() + "\n");
  put("two", lines() + asked_for());
  begin({"--watch-files=false"});
  std::filesystem::remove(folder.file("one.conf"));
  sluice->child().signal(SIGHUP);
  EXPECT_TRUE(eventually([&] { return reloads() == 1 && !page().contains("\"one\""); }, 20s));
  // Its workers have closed them.
  EXPECT_TRUE(eventually([&] { return !RawClient(own, nullptr, false).connected(); }));
  // Numbers of descriptors that were theirs are others' now.
  std::vector<std::unique_ptr<Http2Client>> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(connect(&credentials.alice));
  EXPECT_GT(take_over(sluice->child().pid()), 0);
  EXPECT_EQ(logged("no cluster listens on an address any more"), 0U);
  EXPECT_TRUE(is_served());
}

TEST_F(ClusterTakeOverTest, TheNewProcessHasWhatWasReloadedAndOnlyItReadsOn) {
  start_apisim();
  put("one", without_backends() + backend(0) + asked_for());
  begin({"--drain-timeout=6s"});
  const auto there = connect(&credentials.alice);
  const auto watches = open_watches(*there, 3, bearer());
  put("one", without_backends() + backend(1) + asked_for());
  put("two", without_backends() + backend(2) + "server-names=two.example\n");
  EXPECT_TRUE(eventually([&] { return page().contains("\"two\""); }, 20s)) << page();
  const pid_t old = sluice->child().pid();
  take_over(old);
  EXPECT_TRUE(page().contains("\"two\"")) << page();
  EXPECT_EQ(reloads(), 0);
  const auto before = apisim->counts({"requests", "configmaps", "get"});
  EXPECT_TRUE(is_served());
  auto after = before;
  ++after[1];
  EXPECT_EQ(apisim->counts({"requests", "configmaps", "get"}), after);
  // While the old one drains.
  put("three", without_backends() + backend(2) + "server-names=three.example\n");
  EXPECT_TRUE(eventually([&] { return page().contains("\"three\""); }, 20s)) << page();
  EXPECT_FALSE(gone(old));
  EXPECT_EQ(descriptors_of(old, "inotify"), 0U);
  EXPECT_TRUE(eventually([&] { return gone(old); }, 20s));
  EXPECT_EQ(logged("cluster=three"), 1U) << log();
}

TEST_F(ClusterTakeOverTest, ASignalDuringAReloadWaitsForItsEnd) {
  start_apisim();
  put("one", lines() + asked_for());
  begin({"--watch-files=false"});
  for (int i = 0; i < 40; ++i) {
    put(fmt::format("more-{}", i), lines() + fmt::format("server-names={}.example\n", i));
  }
  sluice->child().signal(SIGHUP);
  sluice->child().signal(SIGUSR2);
  EXPECT_TRUE(eventually([&] { return taken_over().size() == 1; }, 20s)) << log();
  const std::string all = log();
  EXPECT_EQ(logged("a take-over waits until the configuration has been taken over"), 1U) << all;
  EXPECT_LT(all.find("reloaded"), all.find("a new process is to take over"));
  EXPECT_NE(all.find("reloaded"), std::string::npos);
  EXPECT_TRUE(page().contains("more-39")) << page();
  EXPECT_TRUE(is_served());
}

TEST_F(ClusterTakeOverTest, AReloadDuringATakeOverIsDoneWhenThatHasFailed) {
  start_apisim();
  put("one", lines() + asked_for());
  begin({"--watch-files=false", "--take-over-timeout=2s"});
  put_script("exec sleep 600");
  sluice->child().signal(SIGUSR2);
  ASSERT_TRUE(eventually([&] { return successors().size() == 1; }, 5s));
  may_fail = successors();
  put("two", lines() + "server-names=two.example\n");
  sluice->child().signal(SIGHUP);
  loop->run_for(700ms);
  EXPECT_FALSE(page().contains("\"two\""));
  EXPECT_TRUE(eventually([&] { return reloads() == 1; }, 20s)) << log();
  EXPECT_TRUE(page().contains("\"two\""));
  EXPECT_TRUE(eventually([&] { return logged("no take-over: this process serves on") == 1; }));
}

TEST_F(ClusterTakeOverTest, ACertificateAndAKeyThatDoNotFitYetAreWaitedFor) {
  start_apisim();
  put("one", lines() + asked_for());
  begin();
  const std::string key = read_file(folder.file("gateway.key"));
  write_file(folder.file("gateway.key"), issue_server(make_ca("another"), {"x.example"}).key_pem());
  sluice->child().signal(SIGUSR2);
  ASSERT_TRUE(eventually([&] { return successors().size() == 1; }, 5s));
  loop->run_for(1s);
  EXPECT_TRUE(taken_over().empty());
  write_file(folder.file("gateway.key"), key);
  EXPECT_TRUE(eventually([&] { return taken_over().size() == 1; }, 20s)) << log();
  EXPECT_TRUE(is_served());
}

// --- sockets of a service manager

class SocketActivationTest : public TakeOverTest {
 protected:
  // As a service manager makes them: nobody else can bind the address.
  static int bind(io::Address& address) {
    const int descriptor =
        io::listen_on(*io::Address::parse("127.0.0.1:0"), {.backlog = 16, .reuse_port = false})
            .value();
    address = io::local_address(descriptor).value();
    return descriptor;
  }
};

TEST_F(SocketActivationTest, PassedSocketsAreServedByAllWorkersAndHandedOn) {
  io::Address address;
  io::Address admin;
  const int listener = bind(address);
  const int admin_listener = bind(admin);
  start_apisim();
  start_sluice({.flags = {"--workers=2"},
                .environment = {{"LISTEN_FDNAMES", "admin:clients"}},
                .sockets = {admin_listener, listener},
                .address = address,
                .admin = admin});
  Newcomers newcomers(*loop, address, client_tls(&credentials.alice), 20);
  const auto serve = [&](std::size_t count) {
    const std::size_t before = newcomers.served;
    EXPECT_TRUE(loop->run_until(
        [&] {
          newcomers.turn();
          return newcomers.served >= before + count;
        },
        60s));
  };
  serve(100);
  const pid_t process = take_over(sluice->child().pid());
  serve(100);
  EXPECT_TRUE(eventually([&] { return gone(sluice->child().pid()); }, 10s));
  EXPECT_EQ(sluice->page("/readyz").status, 200);
  serve(100);
  EXPECT_TRUE(newcomers.finish());
  EXPECT_EQ(newcomers.lost, 0U);
  // The socket outlives the service: who comes then starts it again.
  send(process, SIGTERM);
  EXPECT_TRUE(eventually([&] { return gone(process); }, 10s));
  const RawClient waits(address, nullptr, false);
  EXPECT_TRUE(waits.connected());
  io::close_socket(listener);
  io::close_socket(admin_listener);
}

TEST_F(SocketActivationTest, ASocketThatNobodyAskedForIsAMistakeThatNamesIt) {
  io::Address address;
  const int listener = bind(address);
  start_apisim();
  start_sluice({.wait_ready = false, .sockets = {listener}});
  EXPECT_TRUE(sluice->child().wait_exit(10s));
  EXPECT_EQ(sluice->child().exit_code(), 1);
  EXPECT_TRUE(log().contains(address.to_string() + " was inherited")) << log();
  sluice.reset();
  io::close_socket(listener);
}

TEST_F(SocketActivationTest, WhatDoesNotListenIsAMistake) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  start_apisim();
  start_sluice({.wait_ready = false, .sockets = {socket}});
  EXPECT_TRUE(sluice->child().wait_exit(10s));
  EXPECT_EQ(sluice->child().exit_code(), 1);
  EXPECT_TRUE(log().contains("is no TCP socket that listens")) << log();
  sluice.reset();
  io::close_socket(socket);
}

}  // namespace
}  // namespace sluice::test
