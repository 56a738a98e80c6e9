// SPDX-License-Identifier: GPL-3.0-or-later
// Every worker writes its own lines and reads the others' at most once a millisecond.
#include "sluice/balance/load_board.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "sluice/base/check.h"

namespace sluice::balance {

namespace {

constexpr std::uint64_t pack(std::uint32_t work, std::uint32_t watches) {
  return (static_cast<std::uint64_t>(watches) << 32) | work;
}
constexpr std::uint32_t work_of(std::uint64_t packed) { return static_cast<std::uint32_t>(packed); }
constexpr std::uint32_t watches_of(std::uint64_t packed) {
  return static_cast<std::uint32_t>(packed >> 32);
}

// Far below the largest double, far above what a day of one decay constant's weights adds up to.
constexpr double weight_max = 1e100;

}  // namespace

LoadBoard::LoadBoard(std::size_t workers, std::size_t backends)
    : workers_(workers),
      backends_(backends),
      slots_(std::make_unique<Slot[]>(workers)),
      seen_(std::make_unique<SeenBy[]>(workers)) {
  CHECK_GE(workers, 1u);
  CHECK_LE(backends, backends_max);
  for (std::atomic<float>& weight : weights_) weight.store(1, std::memory_order_relaxed);
}

void LoadBoard::grow(std::size_t backends) {
  CHECK_LE(backends, backends_max);
  backends_.store(std::max(backends, this->backends()), std::memory_order_relaxed);
}

Load LoadBoard::part(std::size_t worker, std::size_t backend) const {
  CHECK_LT(worker, workers_);
  CHECK_LT(backend, backends());
  const std::uint64_t packed = slots_[worker].counts[backend].load(std::memory_order_relaxed);
  return {.work = work_of(packed),
          .watches = watches_of(packed),
          .tunnels = slots_[worker].tunnels[backend].load(std::memory_order_relaxed),
          .recent = {}};
}

Load LoadBoard::total(std::size_t backend) const {
  Load sum;
  for (std::size_t worker = 0; worker < workers_; ++worker) {
    const Load one = part(worker, backend);
    sum.work += one.work;
    sum.watches += one.watches;
    sum.tunnels += one.tunnels;
  }
  return sum;
}

Answers LoadBoard::answers(std::size_t backend) const {
  CHECK_LT(backend, backends());
  Answers sum;
  for (std::size_t worker = 0; worker < workers_; ++worker) {
    const SeenOfAll* of_all = seen_[worker].used.load(std::memory_order_acquire);
    if (of_all == nullptr) continue;
    const Seen& seen = (*of_all)[backend];
    sum.completed += seen.completed.load(std::memory_order_relaxed);
    for (std::size_t kind = 0; kind < answer_kinds; ++kind) {
      sum.kinds[kind].answers += seen.kinds[kind].answers.load(std::memory_order_relaxed);
      sum.kinds[kind].failures += seen.kinds[kind].failures.load(std::memory_order_relaxed);
      sum.kinds[kind].slowness += seen.kinds[kind].slowness.load(std::memory_order_relaxed);
    }
    sum.overloads += seen.overloads.load(std::memory_order_relaxed);
  }
  return sum;
}

void LoadBoard::set_share(std::size_t backend, const Share& share) {
  CHECK_LT(backend, backends_max);
  CHECK(share.weight > 0 && share.weight <= 1);
  weights_[backend].store(share.weight, std::memory_order_relaxed);
  why_[backend].store(share.why, std::memory_order_relaxed);
  const BackendMask lowered = lowered_.load(std::memory_order_relaxed);
  const BackendMask bit = mask_of(backend);
  lowered_.store(share.weight < 1 ? lowered | bit : lowered & ~bit, std::memory_order_relaxed);
}

Share LoadBoard::share(std::size_t backend) const {
  CHECK_LT(backend, backends_max);
  return {weights_[backend].load(std::memory_order_relaxed),
          why_[backend].load(std::memory_order_relaxed)};
}

void LoadBoard::note_drain(std::size_t backend, Instant now) {
  CHECK_LT(backend, backends());
  const Instant::rep at = now.time_since_epoch().count();
  drained_at_[backend].store(at, std::memory_order_relaxed);
  last_drain_.store(at, std::memory_order_relaxed);
}

// They are never taken away: what a worker has seen is not forgotten with it.
LoadBoard::SeenOfAll& LoadBoard::seen_by(std::size_t worker) {
  CHECK_LT(worker, workers_);
  SeenBy& seen = seen_[worker];
  if (seen.made == nullptr) {
    seen.made = std::make_unique<SeenOfAll>();
    seen.used.store(seen.made.get(), std::memory_order_release);
  }
  return *seen.made;
}

LoadLease::LoadLease(LoadLease&& other) noexcept
    : load_(std::exchange(other.load_, nullptr)),
      backend_(other.backend_),
      work_(std::exchange(other.work_, 0)),
      watch_(std::exchange(other.watch_, false)),
      tunnel_(std::exchange(other.tunnel_, false)) {}

LoadLease& LoadLease::operator=(LoadLease&& other) noexcept {
  if (this != &other) {
    release();
    load_ = std::exchange(other.load_, nullptr);
    backend_ = other.backend_;
    work_ = std::exchange(other.work_, 0);
    watch_ = std::exchange(other.watch_, false);
    tunnel_ = std::exchange(other.tunnel_, false);
  }
  return *this;
}

void LoadLease::set_work(std::uint32_t work) {
  CHECK(load_ != nullptr);
  if (work == work_) return;
  load_->add(backend_, std::int64_t{work} - std::int64_t{work_}, 0);
  work_ = work;
}

void LoadLease::settle() {
  CHECK(load_ != nullptr);
  load_->complete(backend_, work_);
  set_work(0);
}

void LoadLease::complete() {
  if (load_ != nullptr) load_->complete(backend_, work_);
  release();
}

void LoadLease::release() {
  if (load_ == nullptr) return;
  load_->add(backend_, -std::int64_t{work_}, watch_ ? -1 : 0);
  if (tunnel_) load_->add_tunnels(backend_, -1);
  --load_->leases_;
  load_ = nullptr;
  work_ = 0;
  watch_ = tunnel_ = false;
}

WorkerLoad::WorkerLoad(LoadBoard& board, std::size_t worker, WorkerLoadOptions options)
    : board_(board), worker_(worker), options_(options), seen_(board.seen_by(worker)) {
  CHECK(options_.decay > Duration::zero());
}

WorkerLoad::~WorkerLoad() { CHECK_EQ(leases_, 0u); }

std::span<const Load> WorkerLoad::view(Instant now) {
  if (!refreshed_ || now - refreshed_at_ >= options_.refresh) refresh(now);
  return {view_.data(), board_.backends()};
}

void WorkerLoad::refresh(Instant now) {
  if (!refreshed_) weight_epoch_ = now;
  refreshed_ = true;
  refreshed_at_ = now;

  const std::size_t backends = board_.backends();
  for (std::size_t backend = 0; backend < backends; ++backend) {
    view_[backend].work = own_[backend].work;
    view_[backend].watches = own_[backend].watches;
    view_[backend].tunnels = own_[backend].tunnels;
  }
  for (std::size_t worker = 0; worker < board_.workers(); ++worker) {
    if (worker == worker_) continue;
    const LoadBoard::Slot& slot = board_.slots_[worker];
    for (std::size_t backend = 0; backend < backends; ++backend) {
      const std::uint64_t packed = slot.counts[backend].load(std::memory_order_relaxed);
      view_[backend].work += work_of(packed);
      view_[backend].watches += watches_of(packed);
      view_[backend].tunnels += slot.tunnels[backend].load(std::memory_order_relaxed);
    }
  }

  refresh_shares(now);

  weight_ = std::exp(to_seconds(now - weight_epoch_) / to_seconds(options_.decay));
  if (weight_ > weight_max) {
    const double shrink = std::isinf(weight_) ? 0.0 : 1.0 / weight_;
    for (Load& load : view_) {
      for (double& recent : load.recent) recent *= shrink;
    }
    weight_epoch_ = now;
    weight_ = 1.0;
  }
}

void WorkerLoad::refresh_shares(Instant now) {
  const BackendMask lowered = board_.lowered_.load(std::memory_order_relaxed);
  for (BackendMask rest = lowered | lowered_; rest != 0; rest &= rest - 1) {
    const auto backend = lowest_of(rest);
    Load& load = view_[backend];
    const float weight = board_.weights_[backend].load(std::memory_order_relaxed);
    if (weight == load.weight) continue;
    // As if its share had been this all along: else it would make up for what it did not get.
    for (double& recent : load.recent) recent *= static_cast<double>(weight / load.weight);
    load.weight = weight;
  }
  lowered_ = lowered;
  draining_ = 0;
  const auto heeded = [now](Instant at) {
    return at != Instant{} && now - at < LoadBoard::drain_heeded;
  };
  if (!heeded(Instant{Duration{board_.last_drain_.load(std::memory_order_relaxed)}})) return;
  for (std::size_t backend = 0; backend < board_.backends(); ++backend) {
    if (heeded(board_.drained_at(backend))) draining_ |= mask_of(backend);
  }
}

void WorkerLoad::note_drain(std::size_t backend, Instant now) {
  board_.note_drain(backend, now);
  draining_ |= mask_of(backend);
}

void WorkerLoad::join(BackendMask newcomers, BackendMask others) {
  newcomers &= mask_of_first(board_.backends());
  others &= mask_of_first(board_.backends());
  if (newcomers == 0 || others == 0) return;
  for (std::size_t kind = 0; kind < assignment_kinds; ++kind) {
    double sum = 0;
    for (BackendMask rest = others; rest != 0; rest &= rest - 1) {
      sum += view_[lowest_of(rest)].recent[kind];
    }
    const double mean = sum / std::popcount(others);
    for (BackendMask rest = newcomers; rest != 0; rest &= rest - 1) {
      Load& load = view_[lowest_of(rest)];
      load.recent[kind] = std::max(load.recent[kind], mean * static_cast<double>(load.weight));
    }
  }
}

LoadLease WorkerLoad::assign(std::size_t backend, RequestClass request, std::uint32_t units) {
  CHECK_LT(backend, board_.backends());
  const bool watch = counts_as_watch(request);
  const bool tunnel = request == RequestClass::tunnel;
  add(backend, units, watch ? 1 : 0);
  if (tunnel) add_tunnels(backend, 1);
  view_[backend].recent[static_cast<std::size_t>(assignment_kind(request))] += weight_;
  ++leases_;
  LoadLease lease;
  lease.load_ = this;
  lease.backend_ = static_cast<std::uint32_t>(backend);
  lease.work_ = units;
  lease.watch_ = watch;
  lease.tunnel_ = tunnel;
  return lease;
}

namespace {

// One thread writes.
template <class T>
void grow(std::atomic<T>& sum, T by) {
  sum.store(sum.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace

void WorkerLoad::complete(std::size_t backend, std::uint32_t work) {
  grow(seen_[backend].completed, std::uint64_t{work});
}

void WorkerLoad::note_answer(std::size_t backend, AnswerKind kind, std::uint32_t slowness) {
  DCHECK(backend < backends_max);
  LoadBoard::Seen::Kind& seen = seen_[backend].kinds[static_cast<std::size_t>(kind)];
  grow(seen.answers, 1U);
  if (slowness > 0) grow(seen.slowness, std::uint64_t{slowness});
}

void WorkerLoad::note_failure(std::size_t backend, AnswerKind kind) {
  note_answer(backend, kind, 0);
  grow(seen_[backend].kinds[static_cast<std::size_t>(kind)].failures, 1U);
}

void WorkerLoad::note_overload(std::size_t backend, AnswerKind kind) {
  note_answer(backend, kind, 0);
  grow(seen_[backend].overloads, 1U);
}

void WorkerLoad::add_tunnels(std::size_t backend, std::int32_t tunnels) {
  Counts& own = own_[backend];
  const std::int64_t now = std::int64_t{own.tunnels} + tunnels;
  CHECK(now >= 0 && now <= INT64_C(0xffffffff));
  own.tunnels = static_cast<std::uint32_t>(now);
  view_[backend].tunnels += static_cast<std::uint32_t>(tunnels);
  board_.slots_[worker_].tunnels[backend].store(own.tunnels, std::memory_order_relaxed);
}

void WorkerLoad::add(std::size_t backend, std::int64_t work, std::int32_t watches) {
  Counts& own = own_[backend];
  const std::int64_t new_work = std::int64_t{own.work} + work;
  const std::int64_t new_watches = std::int64_t{own.watches} + watches;
  CHECK(new_work >= 0 && new_work <= INT64_C(0xffffffff));
  CHECK(new_watches >= 0 && new_watches <= INT64_C(0xffffffff));
  own.work = static_cast<std::uint32_t>(new_work);
  own.watches = static_cast<std::uint32_t>(new_watches);

  // The view is the others' sum plus our own: the same step keeps it exact in our part.
  Load& seen = view_[backend];
  seen.work = static_cast<std::uint32_t>(std::int64_t{seen.work} + work);
  seen.watches = static_cast<std::uint32_t>(std::int64_t{seen.watches} + watches);
  board_.slots_[worker_].counts[backend].store(pack(own.work, own.watches),
                                               std::memory_order_relaxed);
}

}  // namespace sluice::balance
