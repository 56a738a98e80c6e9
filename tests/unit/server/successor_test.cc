// SPDX-License-Identifier: GPL-3.0-or-later
// A new process, of a shell: what it inherits, and what not.
#include "successor.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "sluice/io/socket.h"
#include "sluice/server/process_start.h"

namespace sluice::server {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(SuccessorEnvironmentTest, IsOursButForWhatIsPassed) {
  const std::array<const char*, 7> ours{
      "PATH=/bin",          "LISTEN_FDS=9",   "LISTEN_PID=1", "LISTEN_FDNAMES=x",
      "WATCHDOG_USEC=1000", "WATCHDOG_PID=1", "A_PID="};
  EXPECT_THAT(successor_environment(ours, 2, 0, true),
              ElementsAre("PATH=/bin", "WATCHDOG_USEC=1000",
                          "A_PID=", "LISTEN_FDNAMES=listening:listening:sluice-state:sluice-link",
                          "LISTEN_FDS=4", "LISTEN_PID=", "WATCHDOG_PID="));
}

TEST(SuccessorEnvironmentTest, SaysWhichSocketsAreThoseOfClusters) {
  const auto environment = successor_environment({}, 1, 2, false);
  EXPECT_THAT(environment,
              Contains("LISTEN_FDNAMES=listening:cluster:cluster:sluice-state:sluice-link"));
  EXPECT_THAT(environment, Contains("LISTEN_FDS=5"));
}

TEST(SuccessorEnvironmentTest, AWatchdogOfNobodyOrOfAnotherProcessStaysWhatItIs) {
  const std::array<const char*, 2> ours{"PATH=/bin", "WATCHDOG_PID=1"};
  EXPECT_THAT(successor_environment({ours.data(), 1}, 0, 0, false),
              Not(Contains(StartsWith("WATCHDOG_PID="))));
  EXPECT_THAT(successor_environment(ours, 0, 0, false), Contains("WATCHDOG_PID=1"));
}

class SuccessorTest : public testing::Test {
 protected:
  // Orphans become this process's children, so that it can wait for them.
  void SetUp() override {
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    path_ = testing::TempDir() + "successor-" + std::to_string(::getpid());
  }
  void TearDown() override { ::unlink(path_.c_str()); }

  Result<std::unique_ptr<Successor>> run(const std::string& script, std::vector<int> sockets = {},
                                         std::string state = "") {
    return start_successor(
        {"/bin/sh", {"sh", "-c", script, path_}, std::move(sockets), std::move(state)});
  }
  static int wait_for(pid_t process) {
    int status = 0;
    EXPECT_EQ(::waitpid(process, &status, 0), process);
    return status;
  }
  std::string written() const {
    std::ifstream file(path_);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

  std::string path_;
};

TEST_F(SuccessorTest, IsPassedWhatItIsToldOf) {
  ::setenv("WATCHDOG_USEC", "5000", 1);
  const int listener = io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value();
  auto successor =
      run("{ echo $LISTEN_FDS $LISTEN_FDNAMES; "
          "[ \"$LISTEN_PID\" = $$ ] && [ \"$WATCHDOG_PID\" = $$ ] && echo own; "
          "cat /proc/$$/fd/4; readlink /proc/$$/fd/3; } > \"$0\"",
          {listener}, "what is known\n");
  ::unsetenv("WATCHDOG_USEC");
  ASSERT_TRUE(successor) << successor.error().context;
  EXPECT_EQ(wait_for((*successor)->pid()), 0);
  EXPECT_THAT(written(), StartsWith("3 listening:sluice-state:sluice-link\nown\n"));
  EXPECT_THAT(written(), HasSubstr("what is known\nsocket:["));
  EXPECT_EQ((*successor)->hear(), std::nullopt);
  EXPECT_TRUE((*successor)->gone());
  io::close_socket(listener);
}

TEST_F(SuccessorTest, HasNoDescriptorButThoseWhateverTheirNumbersWere) {
  std::vector<int> listeners;
  for (int i = 0; i < 3; ++i) {
    listeners.push_back(io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value());
  }
  std::swap(listeners[0], listeners[2]);  // each lies where another one is to be
  std::vector<int> expected;
  for (int number = 0; number < 10; ++number) {
    const int flags = ::fcntl(number, F_GETFD);  // of whoever runs this test
    const bool passed = number >= 3 && number < 8;
    if (passed || (flags >= 0 && (flags & FD_CLOEXEC) == 0)) expected.push_back(number);
  }
  auto successor =
      run("cd /proc/$$/fd; for f in *; do [ -e $f ] && echo $f; done > \"$0\"; true", listeners);
  ASSERT_TRUE(successor) << successor.error().context;
  EXPECT_EQ(wait_for((*successor)->pid()), 0);
  std::istringstream numbers(written());
  std::vector<int> open;
  for (int number = 0; numbers >> number;) {
    if (number < 10) open.push_back(number);  // a shell keeps some above for itself
  }
  EXPECT_EQ(open, expected);
  for (const int listener : listeners) io::close_socket(listener);
}

TEST_F(SuccessorTest, BeginsWithNoSignalBlockedOrIgnored) {
  sigset_t before;
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const auto pipe_before = std::signal(SIGPIPE, SIG_IGN);
  // What whoever started us ignores is passed on (a shell, for what it runs in the background).
  for (const int inherited : {SIGHUP, SIGINT, SIGQUIT}) std::signal(inherited, SIG_DFL);
  // By the shell itself, which blocks signals while it starts another program.
  auto successor =
      run("while read -r line; do case $line in Sig*) echo \"$line\";; esac; done "
          "< /proc/$$/status > \"$0\"");
  std::signal(SIGPIPE, pipe_before);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ASSERT_TRUE(successor) << successor.error().context;
  EXPECT_EQ(wait_for((*successor)->pid()), 0);
  EXPECT_THAT(written(), HasSubstr("SigBlk:\t0000000000000000"));
  EXPECT_THAT(written(), HasSubstr("SigIgn:\t0000000000000000"));
}

TEST_F(SuccessorTest, IsNoChildOfOursUnlessWeAdoptOrphans) {
  // The parent that it sees is whoever adopts: this process, here; and it is in our folder.
  auto successor = run("while [ $(cut -d' ' -f4 /proc/$$/stat) != " + std::to_string(::getpid()) +
                       " ]; do :; done; pwd > \"$0\"");
  ASSERT_TRUE(successor) << successor.error().context;
  EXPECT_EQ(wait_for((*successor)->pid()), 0);
  std::array<char, 4096> folder{};
  ASSERT_NE(::getcwd(folder.data(), folder.size()), nullptr);
  EXPECT_EQ(written(), std::string(folder.data()) + "\n");
}

TEST_F(SuccessorTest, APathThatCannotBeExecutedIsASentence) {
  const auto missing = start_successor({path_ + "-missing", {"x"}, {}, ""});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().context, HasSubstr("-missing cannot be started: "));
  EXPECT_FALSE(start_successor({"/", {"x"}, {}, ""}));
  EXPECT_FALSE(start_successor({path_, {"x"}, {-1}, ""}));
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
}

TEST_F(SuccessorTest, IsEndedWhenItIsToldTo) {
  auto successor = run("exec sleep 600");
  ASSERT_TRUE(successor) << successor.error().context;
  EXPECT_FALSE((*successor)->gone());
  EXPECT_TRUE((*successor)->say("go"));
  (*successor)->end();
  const int status = wait_for((*successor)->pid());
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST_F(SuccessorTest, LeavesNoDescriptorOpenHere) {
  const int before = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(before);
  for (int i = 0; i < 3; ++i) {
    auto successor = run("exit 0");
    ASSERT_TRUE(successor);
    wait_for((*successor)->pid());
    EXPECT_FALSE(start_successor({path_ + "-missing", {"x"}, {}, ""}));
  }
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
  const int after = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(after);
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace sluice::server
