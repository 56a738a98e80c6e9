// SPDX-License-Identifier: GPL-3.0-or-later
// What a message through the ring, a timer and a mailbox cost on one core.
// Goals: the price of one completion, alone and in a batch; of received bytes; of moving a
// deadline. No goals: network devices, TLS, several cores.
#include <benchmark/benchmark.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/base/random.h"
#include "sluice/io/mailbox.h"
#include "sluice/io/ring.h"
#include "sluice/io/socket.h"
#include "sluice/io/timer_wheel.h"

namespace sluice::io {
namespace {

std::unique_ptr<Ring> make_ring(bool one_shot = false) {
  auto ring = Ring::create({.one_shot_receive = one_shot});
  CHECK(ring.has_value());
  return std::move(*ring);
}

// A connection over loopback TCP; both ends are served by one ring.
class Connection {
 public:
  Connection(Ring& ring, int listener) : ring_(ring) {
    const Address address = *local_address(listener);
    far = *open_stream(AF_INET);
    CHECK(::connect(far, address.data(), address.size()) == 0 || errno == EINPROGRESS);
    near_ = accept_now(listener);
    CHECK_GE(near_, 0);
    ring_.receive(receive_, near_);
  }
  ~Connection() {
    ring_.cancel(receive_);
    while (receive_.in_flight() || send_.in_flight()) ring_.turn(std::nullopt);
    close_socket(near_);
    close_socket(far);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void send(Bytes bytes) { ring_.send(send_, far, bytes); }
  bool sending() const { return send_.in_flight(); }

  int far = -1;
  std::size_t received = 0;

 private:
  void on_receive(const Completion& completion) { received += completion.bytes.size(); }
  void on_send(const Completion& completion) { CHECK_GT(completion.result, 0); }

  Ring& ring_;
  int near_ = -1;
  Operation receive_{Operation::bind<&Connection::on_receive>(this)};
  Operation send_{Operation::bind<&Connection::on_send>(this)};
};

int make_listener() { return *listen_on(*Address::parse("127.0.0.1:0"), {.reuse_port = false}); }

// One message on each of n connections per round: sent and received by the same ring.
void BM_Ring_messages(benchmark::State& state) {
  const auto ring = make_ring(state.range(1) != 0);
  const int listener = make_listener();
  std::vector<std::unique_ptr<Connection>> connections;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    connections.push_back(std::make_unique<Connection>(*ring, listener));
  }
  const std::string message(64, 'x');
  for (auto _ : state) {
    for (const auto& connection : connections) {
      connection->received = 0;
      connection->send(as_bytes(message));
    }
    for (const auto& connection : connections) {
      while (connection->sending() || connection->received < message.size()) {
        ring->turn(std::nullopt);
      }
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  connections.clear();
  close_socket(listener);
}
BENCHMARK(BM_Ring_messages)
    ->ArgNames({"connections", "one_shot"})
    ->Args({1, 0})
    ->Args({1, 1})
    ->Args({32, 0})
    ->Args({32, 1});

void BM_Ring_bytes(benchmark::State& state) {
  const auto ring = make_ring();
  const int listener = make_listener();
  auto connection = std::make_unique<Connection>(*ring, listener);
  const std::string block(static_cast<std::size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    connection->received = 0;
    connection->send(as_bytes(block));
    while (connection->sending() || connection->received < block.size()) ring->turn(std::nullopt);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
  connection.reset();
  close_socket(listener);
}
BENCHMARK(BM_Ring_bytes)->Arg(16 << 10)->Arg(64 << 10)->Arg(1 << 20);

void BM_Ring_empty_turn(benchmark::State& state) {
  const auto ring = make_ring();
  for (auto _ : state) ring->turn(ring->now());
}
BENCHMARK(BM_Ring_empty_turn);

// As a request's deadline: armed, moved once, cancelled, among many others.
void BM_TimerWheel_set_move_cancel(benchmark::State& state) {
  Instant now{std::chrono::seconds(1)};
  TimerWheel wheel(now);
  Random random(1);
  std::vector<std::unique_ptr<Timer>> others;
  for (int i = 0; i < 10'000; ++i) {
    others.push_back(std::make_unique<Timer>(nullptr, [](void*) {}));
    wheel.set(*others.back(), now, random.between(std::chrono::seconds(1), std::chrono::hours(1)));
  }
  Timer timer(nullptr, [](void*) {});
  for (auto _ : state) {
    wheel.set(timer, now, std::chrono::seconds(75));
    wheel.set(timer, now, std::chrono::seconds(80));
    timer.cancel();
    benchmark::DoNotOptimize(wheel.next_deadline());
  }
}
BENCHMARK(BM_TimerWheel_set_move_cancel);

void BM_Mailbox_post_and_run(benchmark::State& state) {
  const auto ring = make_ring();
  const auto mailbox = std::move(*Mailbox::create(*ring));
  std::uint64_t ran = 0;
  for (auto _ : state) {
    mailbox->post([&ran] { ++ran; });
    mailbox->run();
  }
  benchmark::DoNotOptimize(ran);
  mailbox->stop();
  while (!mailbox->stopped()) ring->turn(std::nullopt);
}
BENCHMARK(BM_Mailbox_post_and_run);

}  // namespace
}  // namespace sluice::io

BENCHMARK_MAIN();
