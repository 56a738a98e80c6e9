// SPDX-License-Identifier: GPL-3.0-or-later
// What the proxy tells of itself: /debug, and which worker is stuck where.
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <cerrno>
#include <filesystem>
#include <regex>

#include "harness.h"

namespace sluice::test {
namespace {

// A thread of a child that does not run until this is gone.
class StoppedThread {
 public:
  StoppedThread(pid_t process, const std::string& name) {
    const std::string tasks = "/proc/" + std::to_string(process) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      if (read_file(task.path() / "comm") == name + "\n") {
        thread_ = std::stoi(task.path().filename());
      }
    }
    if (thread_ <= 0 || ::ptrace(PTRACE_SEIZE, thread_, nullptr, nullptr) != 0) return;
    stopped_ = ::ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr) == 0 &&
               ::waitpid(thread_, nullptr, __WALL) == thread_;
  }
  ~StoppedThread() {
    if (stopped_) ::ptrace(PTRACE_DETACH, thread_, nullptr, nullptr);
  }
  StoppedThread(const StoppedThread&) = delete;
  StoppedThread& operator=(const StoppedThread&) = delete;

  bool stopped() const { return stopped_; }

 private:
  pid_t thread_ = -1;
  bool stopped_ = false;
};

class DebugTest : public IntegrationTest {};

TEST_F(DebugTest, NamesARunningWatchItsClientAndItsBackendAndNoSecret) {
  start({"--workers=2"});
  const auto client = connect();
  const auto id = client->ask(
      {.path = "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=300&resourceVersion=" +
               apisim->get("/counters").find("revision")->to_string(),
       .fields = bearer("token-3")});
  ASSERT_EQ(client->wait_head(id).status, 200);
  const HttpReply page = sluice->page("/debug");
  EXPECT_EQ(page.status, 200);
  EXPECT_TRUE(page.head.contains("text/plain")) << page.head;
  for (const std::string_view part : {"worker 0 serving ", "worker 1 serving ",
                                      "  client connection peer=127.0.0.1:", " state=established",
                                      " exchange state=forwarding class=watch verb=watch "
                                      "resource=configmaps namespace=default backend=127.0.0.1:"}) {
    EXPECT_TRUE(page.body.contains(part)) << part << " is not in\n" << page.body;
  }
  EXPECT_FALSE(page.body.contains("token-3")) << page.body;
  EXPECT_FALSE(page.body.contains("timeoutSeconds")) << page.body;
}

TEST_F(DebugTest, IsBoundedHoweverMuchThereIsToTell) {
  start({"--workers=2"});
  const auto client = connect(&credentials.alice);
  open_watches(*client, 240);
  const auto other = connect(&credentials.alice);
  open_watches(*other, 240);
  const HttpReply page = sluice->page("/debug");
  EXPECT_EQ(page.status, 200);
  EXPECT_LE(page.body.size(), std::size_t{64} * 1024);
  EXPECT_TRUE(page.body.contains("(there is more)"));
}

TEST_F(DebugTest, AWorkerThatDoesNotTurnIsNamedWithItsStep) {
  start({"--workers=2"});
  {
    const StoppedThread thread(sluice->child().pid(), "worker-1");
    if (!thread.stopped()) GTEST_SKIP() << "threads cannot be stopped here: " << errno;
    const HttpReply page = sluice->page("/debug");
    EXPECT_EQ(page.status, 200);
    EXPECT_TRUE(page.body.contains("worker 0 serving ")) << page.body;
    // Mostly it sleeps at "completions"; a thread that was stopped in its work names that.
    EXPECT_TRUE(std::regex_search(
        page.body, std::regex("worker 1 STUCK: no answer; step=(completions|messages|timers|resume|"
                              "flush|handshakes|reap) descriptor=-?[0-9]+ away=[0-9]+[.][0-9]s\n")))
        << page.body;
    EXPECT_TRUE(sluice->wait_page("/livez", 500, 10s));
    EXPECT_TRUE(eventually(
        [&] { return sluice->child().log().contains("msg=\"a worker is stuck\" worker=1 "); }));
  }
  EXPECT_TRUE(sluice->wait_page("/livez", 200, 5s));
  EXPECT_TRUE(eventually(
      [&] { return sluice->child().log().contains("msg=\"a worker turns again\" worker=1"); }));
  EXPECT_TRUE(sluice->page("/debug").body.contains("worker 1 serving "));
}

}  // namespace
}  // namespace sluice::test
