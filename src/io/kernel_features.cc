// SPDX-License-Identifier: GPL-3.0-or-later
// Tries every operation of the ring once on loopback connections, and repeats the one sequence that
// some kernels get wrong: data and the end of the stream arriving together at a multishot receive
// (CVE-2026-23473). Takes a few milliseconds, at most about fifty.
#include "sluice/io/kernel_features.h"

#include <sys/socket.h>
#include <sys/utsname.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "ring_setup.h"
#include "sluice/base/check.h"
#include "sluice/io/ring.h"
#include "sluice/io/socket.h"

namespace sluice::io {
namespace {

constexpr Duration answer_patience = std::chrono::milliseconds(500);
constexpr Duration repetitions_patience = std::chrono::milliseconds(25);
constexpr Duration end_patience = std::chrono::milliseconds(5);
constexpr int repetitions = 48;

constexpr RingOptions small_ring = {.submission_entries = 16,
                                    .completion_entries = 64,
                                    .receive_buffers = 8,
                                    .receive_buffer_bytes = 1024};

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  Descriptor(Descriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Descriptor() {
    if (descriptor_ >= 0) close_socket(descriptor_);
  }
  int get() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

struct Wire {
  Descriptor near;
  Descriptor far;
};

// An operation and what came of it.
class Attempt {
 public:
  explicit Attempt(Ring& ring) : ring_(ring), operation(Operation::bind<&Attempt::ended>(this)) {}
  ~Attempt() {
    ring_.cancel(operation);
    while (operation.in_flight()) ring_.turn(std::nullopt);
  }

  // Turns until a completion for which `enough` holds, or the operation's end, or the deadline.
  template <class Enough>
  bool turn_until(Enough enough, Duration patience) {
    const Instant give_up = ring_.now() + patience;
    while (!enough() && operation.in_flight() && ring_.now() < give_up) ring_.turn(give_up);
    return enough();
  }

 private:
  void ended(const Completion& completion) {
    ++completions;
    result = completion.result;
    if (result > 0) bytes += completion.result;
  }

  Ring& ring_;

 public:
  Operation operation;
  int completions = 0;
  std::int32_t result = 0;
  std::int32_t bytes = 0;
};

std::unexpected<Error> refused(std::string_view what, const Attempt& attempt) {
  const std::string reason = attempt.completions == 0 ? std::string("no completion came")
                             : attempt.result < 0 ? std::string(std::strerror(-attempt.result))
                                                  : std::string("an unexpected completion came");
  return fail(ErrorKind::unavailable, "this kernel's io_uring fails at \"" + std::string(what) +
                                          "\" (" + reason + "); Linux 6.1 or newer is needed");
}

Result<Wire> tcp_wire(int listener, const Address& address) {
  const auto far = open_stream(address.family());
  if (!far) return std::unexpected(far.error());
  Wire wire;
  wire.far = Descriptor(*far);
  if (::connect(*far, address.data(), address.size()) != 0 && errno != EINPROGRESS) {
    return fail_errno("connect on loopback", errno);
  }
  // On loopback the connection is in the backlog when connect returns.
  const int near = accept_now(listener);
  if (near < 0) return fail(ErrorKind::system, "a loopback connection was not accepted");
  wire.near = Descriptor(near);
  return wire;
}

Result<Wire> local_wire() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail_errno("socketpair", errno);
  }
  Wire wire;
  wire.near = Descriptor(ends[0]);
  wire.far = Descriptor(ends[1]);
  return wire;
}

// Each kind of operation once.
Result<> try_operations(Ring& ring, int listener, const Address& address) {
  Wire wire;
  {
    const auto opened = open_stream(address.family());
    if (!opened) return std::unexpected(opened.error());
    wire.far = Descriptor(*opened);
    Attempt accept(ring);
    ring.accept(accept.operation, listener);
    Attempt connect(ring);
    ring.connect(connect.operation, wire.far.get(), address);
    if (!connect.turn_until([&] { return connect.completions > 0; }, answer_patience) ||
        connect.result != 0) {
      return refused("connect", connect);
    }
    if (!accept.turn_until([&] { return accept.completions > 0; }, answer_patience) ||
        accept.result < 0) {
      return refused("multishot accept", accept);
    }
    wire.near = Descriptor(accept.result);
  }
  constexpr std::string_view text = "probe";
  constexpr auto size = static_cast<std::int32_t>(text.size());
  Attempt poll(ring);
  ring.poll_readable(poll.operation, wire.near.get());
  Attempt send(ring);
  ring.send(send.operation, wire.far.get(), as_bytes(text));
  if (!send.turn_until([&] { return send.completions > 0; }, answer_patience) ||
      send.result != size) {
    return refused("send", send);
  }
  if (!poll.turn_until([&] { return poll.completions > 0; }, answer_patience) || poll.result < 0) {
    return refused("multishot poll", poll);
  }
  Attempt receive(ring);
  ring.receive(receive.operation, wire.near.get());
  if (!receive.turn_until([&] { return receive.bytes == size; }, answer_patience)) {
    return refused("multishot receive into provided buffers", receive);
  }
  ring.cancel(receive.operation);
  if (!receive.turn_until([&] { return !receive.operation.in_flight(); }, answer_patience)) {
    return refused("cancel", receive);
  }
  return {};
}

// The peer sends and shuts down at once, before the receive begins or while it waits: is the end
// seen after the data?
bool sees_end_of_stream(Ring& ring, const Wire& wire, bool waiting) {
  Attempt receive(ring);
  ring.receive(receive.operation, wire.near.get());
  if (waiting) ring.turn(ring.now());
  const std::uint8_t byte = 1;
  if (::send(wire.far.get(), &byte, 1, MSG_NOSIGNAL) != 1) return true;
  shutdown_send(wire.far.get());
  return receive.turn_until(
      [&] { return receive.completions > 0 && !receive.operation.in_flight(); }, end_patience);
}

Result<bool> always_sees_end_of_stream(Ring& ring, int listener, const Address& address) {
  const Instant give_up = ring.now() + repetitions_patience;
  for (int i = 0; i < repetitions && ring.now() < give_up; ++i) {
    auto tcp = tcp_wire(listener, address);
    if (!tcp) return std::unexpected(std::move(tcp.error()));
    const bool waiting = i % 4 != 0;
    if (!sees_end_of_stream(ring, *tcp, waiting)) return false;
    auto local = local_wire();
    if (!local) return std::unexpected(std::move(local.error()));
    if (!sees_end_of_stream(ring, *local, waiting)) return false;
  }
  return true;
}

Result<bool> is_deferred() {
  io_uring ring{};
  const auto facts = set_up_ring(ring, small_ring);
  if (!facts) return std::unexpected(facts.error());
  io_uring_queue_exit(&ring);
  return facts->deferred;
}

}  // namespace

Result<KernelFeatures> probe_kernel_features() {
  KernelFeatures features;
  utsname system{};
  if (::uname(&system) == 0) features.release = system.release;

  const auto deferred = is_deferred();
  if (!deferred) return std::unexpected(deferred.error());
  if (!*deferred) {
    features.warnings.emplace_back(
        "this kernel's io_uring cannot defer completions (IORING_SETUP_DEFER_TASKRUN, Linux 6.1): "
        "everything works, at a higher cost per request");
  }

  auto ring = Ring::create(small_ring);
  if (!ring) return std::unexpected(std::move(ring.error()));
  const auto any_port = Address::parse("127.0.0.1:0");
  CHECK(any_port.has_value());
  const auto listening = listen_on(*any_port, {.backlog = 16, .reuse_port = false});
  if (!listening) return std::unexpected(listening.error());
  const Descriptor listener(*listening);
  const auto address = local_address(listener.get());
  if (!address) return std::unexpected(address.error());

  if (auto tried = try_operations(**ring, listener.get(), *address); !tried) {
    return std::unexpected(std::move(tried.error()));
  }
  const auto sees_end = always_sees_end_of_stream(**ring, listener.get(), *address);
  if (!sees_end) return std::unexpected(sees_end.error());
  features.multishot_receive_sees_end_of_stream = *sees_end;
  if (!*sees_end) {
    features.warnings.emplace_back(
        "this kernel can lose the end of a connection (CVE-2026-23473, fixed in 6.1.192, 6.12.117 "
        "and 7.2.13): received data is asked for piece by piece, at a higher cost; a newer kernel "
        "is advised");
  }
  return features;
}

}  // namespace sluice::io
