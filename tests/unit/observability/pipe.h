// SPDX-License-Identifier: GPL-3.0-or-later
// A pipe whose reading end collects what a writer under test wrote.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

namespace sluice::observability {

class Pipe {
 public:
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    read_ = ends[0];
    write_ = ends[1];
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int write_end() const { return write_; }
  void close_read() { close(read_); }
  void close_write() { close(write_); }

  // Until the last writing end is closed.
  std::string read_all() {
    close_write();
    std::string out;
    std::array<char, 4096> piece;
    for (;;) {
      const ssize_t n = ::read(read_, piece.data(), piece.size());
      if (n <= 0) return out;
      out.append(piece.data(), static_cast<std::size_t>(n));
    }
  }
  std::vector<std::string> read_lines() {
    std::vector<std::string> lines;
    std::string all = read_all();
    std::size_t begin = 0;
    while (begin < all.size()) {
      const std::size_t end = all.find('\n', begin);
      if (end == std::string::npos) {
        ADD_FAILURE() << "the last line is not complete";
        break;
      }
      lines.push_back(all.substr(begin, end - begin));
      begin = end + 1;
    }
    return lines;
  }

 private:
  static void close(int& descriptor) {
    if (descriptor >= 0) ::close(descriptor);
    descriptor = -1;
  }
  int read_ = -1;
  int write_ = -1;
};

}  // namespace sluice::observability
