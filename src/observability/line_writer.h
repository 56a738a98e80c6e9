// SPDX-License-Identifier: GPL-3.0-or-later
// A thread that moves lines from rings to one descriptor. A reader that does not read blocks this
// thread alone: the rings fill up and drop. It looks every `poll_interval`, and at once when a
// producer says that its ring is half full.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "line_ring.h"

namespace sluice::observability {

struct LineWriterOptions {
  int descriptor = -1;
  bool close_descriptor = false;
  std::size_t rings = 1;
  std::size_t ring_bytes = 256 * 1024;
  std::chrono::milliseconds poll_interval{20};
  std::chrono::milliseconds stop_timeout{1000};
};

class LineWriter {
 public:
  explicit LineWriter(const LineWriterOptions& options);
  // Writes what is queued, for at most `stop_timeout`.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // From the one thread (at a time) that produces for this ring. Never waits.
  void push(std::size_t ring, std::string_view line);

  std::uint64_t pushed() const;
  std::uint64_t dropped() const;  // lines that found no room
  // Lines that the descriptor refused: no space, a closed pipe.
  std::uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  void run();
  bool move_some();
  enum class Outcome : std::uint8_t {
    written,
    lost,     // the descriptor refused
    stopped,  // told to stop, and the deadline has passed
  };
  // Takes what was written from the front of `bytes`.
  Outcome write_all(std::string_view& bytes);
  bool wait_writable();
  bool stop_deadline_passed() const;
  void wake();

  const LineWriterOptions options_;
  std::vector<std::unique_ptr<LineRing>> rings_;
  bool socket_ = false;
  bool pipe_ = false;
  char last_byte_ = '\n';  // written; anything else: a write failed in the middle of a line
  int wake_ = -1;          // eventfd
  std::atomic<bool> woken_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<std::int64_t> stop_deadline_ns_{0};  // steady clock; 0: none
  std::atomic<std::uint64_t> lost_{0};
  std::thread thread_;
};

}  // namespace sluice::observability
