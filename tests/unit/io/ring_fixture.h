// SPDX-License-Identifier: GPL-3.0-or-later
// Rings, sockets and recorders for tests on the kernel's ring. Waiting always means turning the
// ring until something has come; the bound is only there so that a failing test ends.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/io/address.h"
#include "sluice/io/ring.h"
#include "sluice/io/socket.h"

namespace sluice::io {

inline std::unique_ptr<Ring> make_ring(const RingOptions& options = {}) {
  auto ring = Ring::create(options);
  CHECK(ring.has_value());
  return std::move(*ring);
}

// A descriptor that is closed at the end of the test.
class TestSocket {
 public:
  TestSocket() = default;
  explicit TestSocket(int descriptor) : descriptor_(descriptor) { CHECK_GE(descriptor, 0); }
  TestSocket(TestSocket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  TestSocket& operator=(TestSocket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~TestSocket() { close(); }
  void close() {
    if (descriptor_ >= 0) close_socket(std::exchange(descriptor_, -1));
  }
  int get() const { return descriptor_; }

  void write(std::string_view text) const {
    CHECK_EQ(::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL),
             static_cast<ssize_t>(text.size()));
  }

 private:
  int descriptor_ = -1;
};

inline std::pair<TestSocket, TestSocket> local_pair() {
  std::array<int, 2> ends{};
  CHECK_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {TestSocket(ends[0]), TestSocket(ends[1])};
}

struct TestListener {
  explicit TestListener(int backlog = 4096) {
    const auto any = Address::parse("127.0.0.1:0");
    const auto descriptor = listen_on(*any, {.backlog = backlog, .reuse_port = false});
    CHECK(descriptor.has_value());
    socket = TestSocket(*descriptor);
    address = *local_address(*descriptor);
  }

  // A client whose connection is in the backlog when this returns.
  TestSocket connect() const {
    const auto descriptor = open_stream(AF_INET);
    CHECK(descriptor.has_value());
    CHECK(::connect(*descriptor, address.data(), address.size()) == 0 || errno == EINPROGRESS);
    return TestSocket(*descriptor);
  }

  std::pair<TestSocket, TestSocket> pair() const {
    TestSocket client = connect();
    return {TestSocket(accept_now(socket.get())), std::move(client)};
  }

  TestSocket socket;
  Address address;
};

// An operation and everything that its owner was told.
class Recorder {
 public:
  explicit Recorder(Ring& ring)
      : ring_(ring), operation(Operation::bind<&Recorder::completed>(this)) {}
  ~Recorder() {
    ring_.cancel(operation);
    while (operation.in_flight()) ring_.turn(std::nullopt);
  }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  bool ended() const { return last > 0; }
  std::int32_t last_result() const { return results.empty() ? INT32_MIN : results.back(); }

 private:
  void completed(const Completion& completion) {
    // in_flight is true until the callback of the last completion begins.
    CHECK_EQ(operation.in_flight(), !completion.last);
    CHECK_EQ(last, 0);
    results.push_back(completion.result);
    data += as_text(completion.bytes);
    if (completion.last) ++last;
    if (then) then(completion);
  }

  Ring& ring_;

 public:
  Operation operation;
  std::vector<std::int32_t> results;
  std::string data;
  int last = 0;
  std::function<void(const Completion&)> then;
};

template <class Done>
bool turn_until(Ring& ring, Done done) {
  const Instant give_up = ring.now() + std::chrono::seconds(20);
  while (!done() && ring.now() < give_up) ring.turn(give_up);
  return done();
}

inline void look(Ring& ring) { ring.turn(ring.now()); }

}  // namespace sluice::io
