// SPDX-License-Identifier: GPL-3.0-or-later
// What one balanced request costs: view, pick, count, and give back. And whether counts in lines of
// each worker's own are worth it against one shared counter per backend, which is what the
// benchmarks with several threads compare (their figures mean something only on as many CPUs).
//
// Not measured: queues, sockets, the quality of the choices (that is in the unit tests).
#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "sluice/balance/load_board.h"
#include "sluice/balance/picker.h"

namespace sluice::balance {
namespace {

constexpr std::size_t workers_max = 32;

// 1 µs passes between two requests: a view is refreshed every thousandth time.
Instant step(Instant now) { return now + std::chrono::microseconds(1); }

void BM_Balance_pick(benchmark::State& state) {
  const auto backends = static_cast<std::size_t>(state.range(0));
  const auto policy = static_cast<Policy>(state.range(1));
  LoadBoard board(1, backends);
  WorkerLoad load(board, 0);
  Picker picker({.policy = policy});
  Random random(1);
  Instant now{};
  for (auto _ : state) {
    now = step(now);
    const auto pick =
        picker.pick(load.view(now), mask_of_first(backends), RequestClass::read, random);
    LoadLease lease = load.assign(*pick, RequestClass::read, 1);
    benchmark::DoNotOptimize(lease);
  }
  state.SetItemsProcessed(state.iterations());
  state.SetLabel(std::string(to_string(policy)));
}
BENCHMARK(BM_Balance_pick)->ArgsProduct({{3, 7, 64}, {0, 1, 2, 3}});

// What reading all workers' lines costs, once a millisecond.
void BM_Balance_refresh(benchmark::State& state) {
  const auto workers = static_cast<std::size_t>(state.range(0));
  LoadBoard board(workers, 3);
  WorkerLoad load(board, 0, {.refresh = Duration::zero()});
  Instant now{};
  for (auto _ : state) {
    now = step(now);
    benchmark::DoNotOptimize(load.view(now).data());
  }
}
BENCHMARK(BM_Balance_refresh)->Arg(1)->Arg(8)->Arg(32);

std::unique_ptr<LoadBoard> shared_board;

void BM_Balance_slots(benchmark::State& state) {
  if (state.thread_index() == 0) shared_board = std::make_unique<LoadBoard>(workers_max, 3);
  // Created in the loop's preamble by each thread: the barrier of the first iteration has passed.
  std::unique_ptr<WorkerLoad> load;
  Picker picker;
  Random random(static_cast<std::uint64_t>(state.thread_index()) + 1);
  Instant now{};
  for (auto _ : state) {
    if (!load)
      load = std::make_unique<WorkerLoad>(*shared_board,
                                          static_cast<std::size_t>(state.thread_index()));
    now = step(now);
    const auto pick = picker.pick(load->view(now), mask_of_first(3), RequestClass::read, random);
    LoadLease lease = load->assign(*pick, RequestClass::read, 1);
    benchmark::DoNotOptimize(lease);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Balance_slots)->ThreadRange(1, 4)->UseRealTime();

// The alternative: one counter per backend for all workers, on a line of its own.
struct alignas(64) SharedCounter {
  std::atomic<std::uint64_t> count{0};
};
std::array<SharedCounter, 3> shared_counters;

void BM_Balance_shared_atomics(benchmark::State& state) {
  Picker picker;
  Random random(static_cast<std::uint64_t>(state.thread_index()) + 1);
  std::array<Load, 3> loads{};
  for (auto _ : state) {
    for (std::size_t i = 0; i < loads.size(); ++i) {
      loads[i].work =
          static_cast<std::uint32_t>(shared_counters[i].count.load(std::memory_order_relaxed));
    }
    const auto pick = picker.pick(loads, mask_of_first(3), RequestClass::read, random);
    shared_counters[*pick].count.fetch_add(1, std::memory_order_relaxed);
    benchmark::ClobberMemory();
    shared_counters[*pick].count.fetch_sub(1, std::memory_order_relaxed);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Balance_shared_atomics)->ThreadRange(1, 4)->UseRealTime();

}  // namespace
}  // namespace sluice::balance

BENCHMARK_MAIN();
