// SPDX-License-Identifier: GPL-3.0-or-later
// The world as the running system shows it.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "sluice/config/environment.h"

namespace sluice::config {

namespace {

// Certificates and keys are some kilobytes; a bundle of all public CAs is a quarter of this.
constexpr std::size_t file_bytes_max = 1024 * 1024;
constexpr std::size_t piece_bytes = 16 * 1024;

std::unexpected<Error> failed(int error_number) {
  return fail(ErrorKind::system, std::strerror(error_number));
}

Result<std::string> read_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return failed(errno);
  struct stat status{};
  // Read into its place at once: what grows leaves pieces behind, and it may be a key.
  std::string text(::fstat(descriptor, &status) == 0 && status.st_size > 0
                       ? std::min(static_cast<std::size_t>(status.st_size), file_bytes_max) + 1
                       : piece_bytes,
                   '\0');
  std::size_t filled = 0;
  Result<std::string> result;
  for (;;) {
    if (filled == text.size()) text.resize(filled + piece_bytes);
    const ssize_t size = ::read(descriptor, text.data() + filled, text.size() - filled);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) {
      result = failed(errno);
      break;
    }
    filled += static_cast<std::size_t>(size);
    if (filled > file_bytes_max) {
      result = fail(ErrorKind::limit, "it is larger than 1 MiB");
      break;
    }
    if (size == 0) {
      text.resize(filled);
      result = std::move(text);
      break;
    }
  }
  ::close(descriptor);
  return result;
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) return failed(errno);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(folder)) names.emplace_back(entry->d_name);
  const int error_number = errno;
  ::closedir(folder);
  if (error_number != 0) return failed(error_number);
  return names;
}

Result<std::string> read_link(const std::string& path) {
  std::string target(4096, '\0');
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  if (size < 0) return failed(errno);
  target.resize(static_cast<std::size_t>(size));
  return target;
}

std::string stamp(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  return fmt::format("{}:{} {} {}.{} {}.{}", status.st_dev, status.st_ino, status.st_size,
                     status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec,
                     status.st_ctim.tv_nsec);
}

// Asked without creating the file: a check leaves no traces.
Result<void> may_append(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return failed(EISDIR);
    if (::access(path.c_str(), W_OK) != 0) return failed(errno);
    return {};
  }
  if (errno != ENOENT) return failed(errno);
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) return failed(errno);
  return {};
}

bool others_may_read(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && (status.st_mode & S_IROTH) != 0;
}

std::uint32_t usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) {
    // More CPUs than the set has room for, or none of our business.
    const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? static_cast<std::uint32_t>(online) : 1;
  }
  const int count = CPU_COUNT(&set);
  return count > 0 ? static_cast<std::uint32_t>(count) : 1;
}

}  // namespace

Environment system_environment() {
  Environment environment;
  environment.now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  environment.cpus = usable_cpus();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) environment.descriptors_max = limit.rlim_cur;
  environment.read_file = read_file;
  environment.list_folder = list_folder;
  environment.read_link = read_link;
  environment.stamp = stamp;
  environment.may_append = may_append;
  environment.others_may_read = others_may_read;
  return environment;
}

}  // namespace sluice::config
