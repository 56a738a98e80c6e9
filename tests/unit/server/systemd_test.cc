// SPDX-License-Identifier: GPL-3.0-or-later
// What the service manager is told, over a socket as its own (sd_notify(3)).
#include "systemd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

namespace sluice::server {
namespace {

// A variable of the environment, for one test.
class Variable {
 public:
  Variable(const char* name, const std::optional<std::string>& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Variable() { set(before_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const std::optional<std::string>& value) {
    if (value)
      ::setenv(name_, value->c_str(), 1);
    else
      ::unsetenv(name_);
  }
  const char* name_;
  std::optional<std::string> before_;
};

// The service manager's end. `name` as in $NOTIFY_SOCKET.
class Manager {
 public:
  explicit Manager(const std::string& name)
      : path_(name), descriptor_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), size), 0);
  }
  ~Manager() {
    ::close(descriptor_);
    if (path_[0] != '@') ::unlink(path_.c_str());
  }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  // With the descriptor that came along, if one did.
  std::optional<std::string> told_with(int& passed) const {
    std::array<char, 4096> room;
    alignas(cmsghdr) std::array<char, 256> control{};
    iovec bytes{room.data(), room.size()};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(descriptor_, &message, 0);
    if (size < 0) return std::nullopt;
    if (const cmsghdr* header = CMSG_FIRSTHDR(&message);
        header != nullptr && header->cmsg_type == SCM_RIGHTS) {
      std::memcpy(&passed, CMSG_DATA(header), sizeof passed);
    }
    return std::string(room.data(), static_cast<std::size_t>(size));
  }

  std::optional<std::string> told() const {
    std::array<char, 4096> room;
    const ssize_t size = ::recv(descriptor_, room.data(), room.size(), 0);
    if (size < 0) return std::nullopt;
    return std::string(room.data(), static_cast<std::size_t>(size));
  }

 private:
  std::string path_;
  int descriptor_;
};

std::string path_of(std::string_view name) {
  return testing::TempDir() + std::string(name) + std::to_string(::getpid());
}

TEST(NotifyTest, TellsTheStateInOneDatagram) {
  const std::string path = path_of("notify");
  const Manager manager(path);
  const Variable socket("NOTIFY_SOCKET", path);
  notify_service_manager("READY=1\nSTATUS=serving");
  EXPECT_EQ(manager.told(), "READY=1\nSTATUS=serving");
  EXPECT_EQ(manager.told(), std::nullopt);
}

TEST(NotifyTest, FindsASocketWithAnAbstractName) {
  const std::string name = "@sluice-test-" + std::to_string(::getpid());
  const Manager manager(name);
  const Variable socket("NOTIFY_SOCKET", name);
  notify_service_manager("WATCHDOG=1");
  EXPECT_EQ(manager.told(), "WATCHDOG=1");
}

TEST(NotifyTest, WithoutAServiceManagerNothingHappens) {
  const std::string path = path_of("unused");
  const Manager manager(path);
  for (const std::optional<std::string>& name :
       {std::optional<std::string>(), std::optional<std::string>(""),
        std::optional<std::string>("relative"), std::optional<std::string>("vsock:2:1"),
        std::optional<std::string>(path + "-that-nobody-listens-at"),
        std::optional<std::string>("/" + std::string(200, 'x'))}) {
    const Variable socket("NOTIFY_SOCKET", name);
    notify_service_manager("READY=1");
    EXPECT_EQ(manager.told(), std::nullopt);
  }
}

TEST(NotifyTest, SaysWhetherTheServiceManagerHasTakenIt) {
  const std::string path = path_of("full");
  {
    const Variable socket("NOTIFY_SOCKET", path);
    EXPECT_FALSE(notify_service_manager("READY=1"));  // nobody is there
    const Manager manager(path);
    EXPECT_TRUE(notify_service_manager("READY=1"));
    bool taken = true;
    for (int i = 0; i < 100'000 && taken; ++i) taken = notify_service_manager("WATCHDOG=1");
    EXPECT_FALSE(taken);  // its queue is full
  }
  const Variable socket("NOTIFY_SOCKET", std::nullopt);
  EXPECT_TRUE(notify_service_manager("READY=1"));  // there is nobody to tell
}

TEST(NotifyBarrierTest, IsPassedWhenTheServiceManagerHasClosedWhatCameWithIt) {
  const std::string path = path_of("barrier");
  const Manager manager(path);
  const Variable socket("NOTIFY_SOCKET", path);
  notify_service_manager("MAINPID=1");
  const auto barrier = notify_barrier();
  ASSERT_NE(barrier, nullptr);
  EXPECT_FALSE(barrier->passed());
  int passed = -1;
  EXPECT_EQ(manager.told_with(passed), "MAINPID=1");
  EXPECT_EQ(passed, -1);
  EXPECT_EQ(manager.told_with(passed), "BARRIER=1");
  ASSERT_GE(passed, 0);
  EXPECT_FALSE(barrier->passed());
  ::close(passed);
  EXPECT_TRUE(barrier->passed());
}

TEST(NotifyBarrierTest, ThereIsNoneWithoutAServiceManager) {
  {
    const Variable socket("NOTIFY_SOCKET", std::nullopt);
    EXPECT_EQ(notify_barrier(), nullptr);
  }
  const Variable socket("NOTIFY_SOCKET", path_of("nobody"));
  EXPECT_EQ(notify_barrier(), nullptr);
}

TEST(NotifyTest, LeavesNoDescriptorBehind) {
  const std::string path = path_of("descriptor");
  const Manager manager(path);
  const Variable socket("NOTIFY_SOCKET", path);
  const int before = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(before);
  for (int i = 0; i < 3; ++i) {
    notify_service_manager("WATCHDOG=1");
    notify_barrier();
  }
  int passed = -1;
  while (manager.told_with(passed)) {
    if (passed >= 0) ::close(std::exchange(passed, -1));
  }
  const int after = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(after);
  EXPECT_EQ(before, after);
}

TEST(WatchdogTest, IsFedTwiceInItsTime) {
  const Variable time("WATCHDOG_USEC", "30000000");
  const Variable process("WATCHDOG_PID", std::nullopt);
  EXPECT_EQ(watchdog_interval(), std::chrono::seconds(15));
}

TEST(WatchdogTest, IsNotFedForAnotherProcess) {
  const Variable time("WATCHDOG_USEC", "30000000");
  {
    const Variable process("WATCHDOG_PID", std::to_string(::getpid()));
    EXPECT_TRUE(watchdog_interval());
  }
  const Variable process("WATCHDOG_PID", std::to_string(::getppid()));
  EXPECT_FALSE(watchdog_interval());
}

TEST(WatchdogTest, IsNotFedWhenNobodyAsksOrWhatIsAskedIsNoTime) {
  const Variable process("WATCHDOG_PID", std::nullopt);
  for (const std::optional<std::string>& text :
       {std::optional<std::string>(), std::optional<std::string>(""),
        std::optional<std::string>("0"), std::optional<std::string>("-5"),
        std::optional<std::string>("30s"), std::optional<std::string>("99999999999999999999")}) {
    const Variable time("WATCHDOG_USEC", text);
    EXPECT_FALSE(watchdog_interval()) << text.value_or("unset");
  }
}

}  // namespace
}  // namespace sluice::server
