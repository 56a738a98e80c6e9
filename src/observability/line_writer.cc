// SPDX-License-Identifier: GPL-3.0-or-later
// Waits with poll(2) before each write, in pieces that a pipe takes whole, so that stopping is
// possible although nobody reads.
#include "line_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "sluice/base/check.h"
#include "sluice/base/thread.h"

namespace sluice::observability {

namespace {

std::int64_t steady_now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

LineWriter::LineWriter(const LineWriterOptions& options) : options_(options) {
  CHECK_GE(options.descriptor, 0);
  struct stat status{};
  if (::fstat(options.descriptor, &status) == 0) {
    socket_ = S_ISSOCK(status.st_mode);
    pipe_ = S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode);
  }
  for (std::size_t i = 0; i < options.rings; ++i) {
    rings_.push_back(std::make_unique<LineRing>(options.ring_bytes));
  }
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  CHECK_GE(wake_, 0);

  thread_ = start_thread([this] { run(); });
}

LineWriter::~LineWriter() {
  const auto timeout = std::chrono::nanoseconds(options_.stop_timeout).count();
  stop_deadline_ns_.store(steady_now_ns() + timeout, std::memory_order_relaxed);
  stopping_.store(true, std::memory_order_release);
  wake();
  thread_.join();
  ::close(wake_);
  if (options_.close_descriptor) ::close(options_.descriptor);
}

void LineWriter::push(std::size_t ring, std::string_view line) {
  CHECK_LT(ring, rings_.size());
  rings_[ring]->push(line);
  if (rings_[ring]->half_full() && !woken_.exchange(true, std::memory_order_relaxed)) wake();
}

void LineWriter::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
}

std::uint64_t LineWriter::pushed() const {
  std::uint64_t sum = 0;
  for (const auto& ring : rings_) sum += ring->pushed();
  return sum;
}

std::uint64_t LineWriter::dropped() const {
  std::uint64_t sum = 0;
  for (const auto& ring : rings_) sum += ring->dropped();
  return sum;
}

void LineWriter::run() {
  for (;;) {
    // Read before the rings are, so that a line pushed before the stop is seen.
    const bool last = stopping_.load(std::memory_order_acquire);
    while (move_some()) {
      if (stop_deadline_passed()) return;
    }
    if (last) return;
    pollfd woken = {.fd = wake_, .events = POLLIN, .revents = 0};
    if (::poll(&woken, 1, static_cast<int>(options_.poll_interval.count())) > 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const auto got = ::read(wake_, &count, sizeof count);
    }
    woken_.store(false, std::memory_order_relaxed);
  }
}

// Whole lines of each ring at a time, so that lines of different rings never mix. False: all empty,
// or told to stop while nothing could be written.
bool LineWriter::move_some() {
  bool moved = false;
  for (const auto& ring : rings_) {
    auto pieces = ring->peek();
    const std::size_t size = pieces[0].size() + pieces[1].size();
    if (size == 0) continue;
    Outcome outcome = Outcome::written;
    std::string_view line_end = "\n";
    if (last_byte_ != '\n') outcome = write_all(line_end);  // a write failed within a line
    for (std::string_view& piece : pieces) {
      if (outcome == Outcome::written) outcome = write_all(piece);
    }
    if (outcome == Outcome::stopped) return false;
    // What is left of a line ends with its end, so that one cut short counts, too.
    const auto lines = std::ranges::count(pieces[0], '\n') + std::ranges::count(pieces[1], '\n');
    if (outcome == Outcome::lost) {
      lost_.store(lost_.load(std::memory_order_relaxed) + static_cast<std::uint64_t>(lines),
                  std::memory_order_relaxed);
    }
    ring->pop(size);
    moved = true;
  }
  return moved;
}

LineWriter::Outcome LineWriter::write_all(std::string_view& bytes) {
  while (!bytes.empty()) {
    if (!wait_writable()) return Outcome::stopped;
    const std::size_t size = pipe_ ? std::min<std::size_t>(bytes.size(), PIPE_BUF) : bytes.size();
    const ssize_t done =
        socket_ ? ::send(options_.descriptor, bytes.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL)
                : ::write(options_.descriptor, bytes.data(), size);
    if (done > 0) {
      last_byte_ = bytes[static_cast<std::size_t>(done) - 1];
      bytes.remove_prefix(static_cast<std::size_t>(done));
      continue;
    }
    if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    // No space, a closed pipe: these lines are lost, the next may fare better.
    return Outcome::lost;
  }
  return Outcome::written;
}

bool LineWriter::wait_writable() {
  for (;;) {
    pollfd out = {.fd = options_.descriptor, .events = POLLOUT, .revents = 0};
    if (::poll(&out, 1, 50) != 0) return true;  // writable, or an error that the write will tell
    if (stop_deadline_passed()) return false;
  }
}

bool LineWriter::stop_deadline_passed() const {
  const std::int64_t deadline = stop_deadline_ns_.load(std::memory_order_relaxed);
  return deadline != 0 && steady_now_ns() >= deadline;
}

}  // namespace sluice::observability
