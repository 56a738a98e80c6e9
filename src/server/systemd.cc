// SPDX-License-Identifier: GPL-3.0-or-later
// The notification protocol of the service manager.
#include "systemd.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

namespace sluice::server {
namespace {

std::optional<long long> number(const char* text) {
  if (text == nullptr) return std::nullopt;
  long long value = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

}  // namespace

void notify_service_manager(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t size = std::strlen(path);
  if (size >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, size);
  if (path[0] == '@') address.sun_path[0] = '\0';  // abstract name, unix(7)
  const int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return;
  const auto address_size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  (void)sendto(descriptor, state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
               reinterpret_cast<const sockaddr*>(&address), address_size);
  ::close(descriptor);
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
