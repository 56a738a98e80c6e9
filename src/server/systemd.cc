// SPDX-License-Identifier: GPL-3.0-or-later
// The notification protocol of the service manager.
#include "systemd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

namespace sluice::server {
namespace {

// With a copy of `passed`, if that is a descriptor. True also when there is nobody to tell.
bool tell(std::string_view state, int passed) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return true;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t size = std::strlen(path);
  if (size >= sizeof address.sun_path) return true;
  std::memcpy(address.sun_path, path, size);
  if (path[0] == '@') address.sun_path[0] = '\0';  // abstract name, unix(7)
  const int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return false;
  iovec bytes{const_cast<char*>(state.data()), state.size()};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof passed)> control{};
  if (passed >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof passed);
    std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  const ssize_t sent = ::sendmsg(descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  ::close(descriptor);
  return sent == static_cast<ssize_t>(state.size());
}

// Passed when the other end of a pipe is closed everywhere.
class PipeBarrier final : public NotifyBarrier {
 public:
  explicit PipeBarrier(int descriptor) : descriptor_(descriptor) {}
  ~PipeBarrier() override { ::close(descriptor_); }
  bool passed() override {
    pollfd look{.fd = descriptor_, .events = 0, .revents = 0};
    return ::poll(&look, 1, 0) == 1 && (look.revents & POLLHUP) != 0;
  }

 private:
  int descriptor_;
};

}  // namespace

std::optional<long long> number(const char* text) {
  if (text == nullptr) return std::nullopt;
  long long value = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

bool notify_service_manager(std::string_view state) { return tell(state, -1); }

std::unique_ptr<NotifyBarrier> notify_barrier() {
  if (std::getenv("NOTIFY_SOCKET") == nullptr) return nullptr;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return nullptr;
  const bool sent = tell("BARRIER=1", ends[1]);
  ::close(ends[1]);
  auto barrier = std::make_unique<PipeBarrier>(ends[0]);
  if (!sent) return nullptr;
  return barrier;
}

std::optional<Duration> watchdog_interval() {
  const auto microseconds = number(std::getenv("WATCHDOG_USEC"));
  if (!microseconds || *microseconds <= 0) return std::nullopt;
  if (const char* pid = std::getenv("WATCHDOG_PID")) {
    if (number(pid) != static_cast<long long>(getpid())) return std::nullopt;
  }
  return std::chrono::microseconds(*microseconds) / 2;
}

}  // namespace sluice::server
