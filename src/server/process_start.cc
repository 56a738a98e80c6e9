// SPDX-License-Identifier: GPL-3.0-or-later
// What the process was started with.
#include "sluice/server/process_start.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "sluice/io/socket.h"
#include "systemd.h"

namespace sluice::server {
namespace {

constexpr int first_descriptor = 3;  // SD_LISTEN_FDS_START
constexpr long long descriptors_max = 16384;

int option(int descriptor, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(descriptor, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

Result<InheritedSocket> listening_socket(int number, OwnedDescriptor descriptor) {
  const int domain = option(descriptor.get(), SO_DOMAIN);
  if ((domain != AF_INET && domain != AF_INET6) ||
      option(descriptor.get(), SO_TYPE) != SOCK_STREAM ||
      option(descriptor.get(), SO_ACCEPTCONN) != 1) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("descriptor {} was passed by LISTEN_FDS and is no TCP socket that "
                            "listens: pass those alone (ListenStream=ADDR:PORT, Accept=no)",
                            number));
  }
  if (::fcntl(descriptor.get(), F_SETFL, O_NONBLOCK) != 0 ||
      ::listen(descriptor.get(), io::ListenOptions{}.backlog) != 0) {
    return fail_errno("a socket that was passed by LISTEN_FDS cannot be used", errno);
  }
  io::configure_stream(descriptor.get());
  auto address = io::local_address(descriptor.get());
  if (!address) return std::unexpected(address.error());
  return InheritedSocket{std::move(descriptor), *address};
}

Result<void> take(const std::vector<std::string>& names, Inherited& inherited) {
  std::vector<std::pair<OwnedDescriptor, bool>> sockets;
  for (std::size_t i = 0; i < names.size(); ++i) {
    OwnedDescriptor descriptor(first_descriptor + static_cast<int>(i));
    if (::fcntl(descriptor.get(), F_SETFD, FD_CLOEXEC) != 0) {
      descriptor.release();
      return fail(ErrorKind::invalid_argument,
                  fmt::format("LISTEN_FDS names {} descriptors, and {} is not open", names.size(),
                              first_descriptor + i));
    }
    if (names[i] == link_name) {
      inherited.predecessor = std::make_unique<TakeOverLink>(descriptor.release());
    } else if (names[i] == state_name) {
      inherited.state = std::move(descriptor);
    } else {
      sockets.emplace_back(std::move(descriptor), names[i] == cluster_listening_name);
    }
  }
  for (auto& [descriptor, of_cluster] : sockets) {
    const int number = descriptor.get();
    auto socket = listening_socket(number, std::move(descriptor));
    if (!socket) return std::unexpected(socket.error());
    socket->of_cluster = of_cluster && inherited.predecessor != nullptr;
    inherited.sockets.push_back(std::move(*socket));
  }
  return {};
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(':', at), text.size());
    parts.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

}  // namespace

OwnedDescriptor& OwnedDescriptor::operator=(OwnedDescriptor&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

OwnedDescriptor::~OwnedDescriptor() {
  if (descriptor_ >= 0) io::close_socket(descriptor_);
}

Result<std::vector<std::string>> passed_descriptors(const GetVariable& variable,
                                                    long long process) {
  const char* count_text = variable("LISTEN_FDS");
  // Those of another process: ours has inherited its environment alone.
  if (count_text == nullptr || number(variable("LISTEN_PID")) != process) return {};
  const std::optional<long long> count = number(count_text);
  if (!count || *count < 0 || *count > descriptors_max) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("LISTEN_FDS is no number of descriptors up to {}", descriptors_max));
  }
  std::vector<std::string> names;
  if (const char* text = variable("LISTEN_FDNAMES")) names = split(text);
  names.resize(static_cast<std::size_t>(*count));
  return names;
}

std::string program_path(std::string_view called, std::string_view executed) {
  // A path of descriptors leads to a file that was open once.
  const bool useful = executed.contains('/') && !executed.starts_with("/dev/fd/") &&
                      !executed.starts_with("/proc/");
  return std::string(called.contains('/') || !useful ? called : executed);
}

Result<ProcessStart> read_process_start(std::span<const char* const> arguments) {
  ProcessStart start;
  start.arguments.assign(arguments.begin(), arguments.end());
  const auto* executed = reinterpret_cast<const char*>(::getauxval(AT_EXECFN));
  start.path = program_path(start.arguments.empty() ? "" : start.arguments[0],
                            executed == nullptr ? "" : executed);
  auto names = passed_descriptors([](const char* name) { return std::getenv(name); }, ::getpid());
  if (!names) return std::unexpected(names.error());
  if (auto taken = take(*names, start.inherited); !taken) {
    if (start.inherited.predecessor) start.inherited.predecessor->refuse(taken.error().context);
    return std::unexpected(taken.error());
  }
  return start;
}

}  // namespace sluice::server
