// SPDX-License-Identifier: GPL-3.0-or-later
// A service manager for tests.
#include "service_manager.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <sstream>

#include "sluice/base/check.h"

namespace sluice::test {

ServiceManager::ServiceManager(Duration watchdog)
    : watchdog_(watchdog),
      path_(directory_.file("notify")),
      descriptor_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK_LT(path_.size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, path_.data(), path_.size());
  CHECK_EQ(::bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const int on = 1;
  CHECK_EQ(::setsockopt(descriptor_, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  thread_ = std::thread([this] { run(); });
}

ServiceManager::~ServiceManager() {
  over_ = true;
  thread_.join();
  ::close(descriptor_);
}

std::map<std::string, std::string> ServiceManager::environment() const {
  return {
      {"NOTIFY_SOCKET", path_},
      {"WATCHDOG_USEC",
       std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(watchdog_).count())}};
}

std::vector<std::string> ServiceManager::taken() const {
  const std::lock_guard lock(mutex_);
  return taken_;
}

std::vector<std::string> ServiceManager::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

void ServiceManager::run() {
  while (!over_) {
    pollfd look{.fd = descriptor_, .events = POLLIN, .revents = 0};
    constexpr int at_most_ms = 20;
    if (::poll(&look, 1, at_most_ms) == 1) receive();
    watch();
  }
}

void ServiceManager::receive() {
  std::array<char, 4096> room;
  alignas(cmsghdr) std::array<char, 512> control{};
  iovec bytes{room.data(), room.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(descriptor_, &message, MSG_CMSG_CLOEXEC);
  if (size < 0) return;
  ucred sender{};
  int passed = -1;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_type == SCM_CREDENTIALS)
      std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
    if (header->cmsg_type == SCM_RIGHTS) std::memcpy(&passed, CMSG_DATA(header), sizeof passed);
  }
  const std::string text(room.data(), static_cast<std::size_t>(size));
  // All before it has been seen to, whoever asks.
  if (text == "BARRIER=1") ++barriers_;
  if (passed >= 0) ::close(passed);
  if (text == "BARRIER=1") return;
  if (main_ == 0) {
    main_ = sender.pid;
    fed_ = Clock::now();
  }
  if (sender.pid == main_) return take(text);
  const std::lock_guard lock(mutex_);
  dropped_.push_back(fmt::format("{}: {}", sender.pid, text));
}

void ServiceManager::take(const std::string& message) {
  {
    const std::lock_guard lock(mutex_);
    taken_.push_back(message);
  }
  std::istringstream lines(message);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("MAINPID=")) main_ = std::atoi(line.c_str() + 8);
    if (line == "WATCHDOG=1") fed_ = Clock::now();
    if (line == "WATCHDOG=trigger" && !barked_.exchange(true)) abort_main();
  }
}

void ServiceManager::watch() {
  if (main_ == 0 || barked_ || Clock::now() - fed_ <= watchdog_) return;
  barked_ = true;
  abort_main();
}

void ServiceManager::abort_main() const {
  if (main_ > 1) ::kill(main_, SIGABRT);
}

}  // namespace sluice::test
