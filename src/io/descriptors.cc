// SPDX-License-Identifier: GPL-3.0-or-later
// A table never becomes smaller again, so one high descriptor, closed at once, is enough.
#include "sluice/io/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace sluice::io {
namespace {

constexpr rlim_t descriptors_max = 1 << 20;

}  // namespace

std::size_t reserve_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const auto count = static_cast<int>(std::min(limit.rlim_cur, descriptors_max));
  const int any = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (any < 0) return 0;
  const int last = ::fcntl(any, F_DUPFD_CLOEXEC, count - 1);
  if (last >= 0) ::close(last);
  ::close(any);
  return last < 0 ? 0 : static_cast<std::size_t>(last) + 1;
}

}  // namespace sluice::io
