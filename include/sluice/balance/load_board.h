// SPDX-License-Identifier: GPL-3.0-or-later
// The loads of one cluster's backends, as all workers see them, without a lock and without a line
// that two cores write: each worker stores its own counts to lines of its own, and adds up those of
// the others at most once a millisecond. A worker's own counts are always exact in its view.
//
//   LoadBoard (shared, outlives all)      one Slot (padded lines) per worker
//     └─ WorkerLoad (one per worker, its thread only)      the view to pick from
//          └─ LoadLease (one per exchange)                 counts from the pick to the end
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "sluice/balance/answers.h"
#include "sluice/balance/picker.h"
#include "sluice/balance/shares.h"
#include "sluice/base/time.h"

namespace sluice::balance {

class LoadBoard {
 public:
  LoadBoard(std::size_t workers, std::size_t backends);  // at most backends_max backends
  // There are so many now, or more. Before anybody picks one of them. Any one thread.
  void grow(std::size_t backends);
  LoadBoard(const LoadBoard&) = delete;
  LoadBoard& operator=(const LoadBoard&) = delete;

  std::size_t workers() const { return workers_; }
  std::size_t backends() const { return backends_.load(std::memory_order_relaxed); }

  // Totals over all workers, for metrics and the admin pages (`recent` stays 0). Any thread.
  Load total(std::size_t backend) const;
  // One worker's part of it.
  Load part(std::size_t worker, std::size_t backend) const;

  // What all workers have seen of a backend's answers, ever. Any thread.
  Answers answers(std::size_t backend) const;
  // How much of the work it should get: what workers heed within a millisecond. One thread sets it,
  // any may read it.
  void set_share(std::size_t backend, const Share& share);
  Share share(std::size_t backend) const;

  // A backend has said that it shuts down: all workers avoid it for so long, unless it says
  // otherwise when it is asked. Any thread.
  static constexpr Duration drain_heeded = std::chrono::seconds(2);
  void note_drain(std::size_t backend, Instant now);
  // When it last said so; Instant{}: never. Any thread.
  Instant drained_at(std::size_t backend) const {
    return Instant{Duration{drained_at_[backend].load(std::memory_order_relaxed)}};
  }

 private:
  friend class WorkerLoad;
  // Watches in the upper half, work in the lower: one store publishes both. Tunnels change rarely.
  struct alignas(64) Slot {
    std::array<std::atomic<std::uint64_t>, backends_max> counts{};
    alignas(64) std::array<std::atomic<std::uint32_t>, backends_max> tunnels{};
  };

  // What one worker has seen of one backend: Answers.
  struct alignas(64) Seen {
    struct Kind {
      std::atomic<std::uint32_t> answers{0};
      std::atomic<std::uint32_t> failures{0};
      std::atomic<std::uint64_t> slowness{0};
    };
    std::atomic<std::uint64_t> completed{0};
    std::array<Kind, answer_kinds> kinds{};
    std::atomic<std::uint32_t> overloads{0};
  };
  using SeenOfAll = std::array<Seen, backends_max>;
  // One worker's; made when it first uses the cluster, by itself.
  struct SeenBy {
    std::unique_ptr<SeenOfAll> made;
    std::atomic<SeenOfAll*> used{nullptr};
  };
  SeenOfAll& seen_by(std::size_t worker);

  const std::size_t workers_;
  std::atomic<std::size_t> backends_;
  std::unique_ptr<Slot[]> slots_;
  std::unique_ptr<SeenBy[]> seen_;
  // Whoever hears it writes here: a drain is rare, and lines that nobody writes are shared by all.
  alignas(64) std::atomic<Instant::rep> last_drain_{0};
  std::array<std::atomic<Instant::rep>, backends_max> drained_at_{};
  std::atomic<BackendMask> lowered_{0};
  std::array<std::atomic<float>, backends_max> weights_;
  std::array<std::atomic<Lowered>, backends_max> why_{};
};

class WorkerLoad;

// What one exchange weighs on one backend; given back when it is destroyed. Move-only; must not
// outlive its WorkerLoad.
class LoadLease {
 public:
  LoadLease() = default;
  LoadLease(LoadLease&& other) noexcept;
  LoadLease& operator=(LoadLease&& other) noexcept;
  ~LoadLease() { release(); }

  explicit operator bool() const { return load_ != nullptr; }
  std::size_t backend() const { return backend_; }
  std::uint32_t work() const { return work_; }

  // Replaces the estimate, as bytes show what the request really is.
  void set_work(std::uint32_t work);
  // A watch whose initial events are sent (or whose head is forwarded, when it sends none): no work
  // any more, still an open watch.
  void settle();
  // The work is done; otherwise what is released was given up.
  void complete();
  void release();

 private:
  friend class WorkerLoad;
  WorkerLoad* load_ = nullptr;
  std::uint32_t backend_ = 0;
  std::uint32_t work_ = 0;
  bool watch_ = false;
  bool tunnel_ = false;
};

struct WorkerLoadOptions {
  Duration refresh = std::chrono::milliseconds(1);  // how old the others' counts may be
  Duration decay = std::chrono::seconds(5);         // time constant of `recent`
};

class WorkerLoad {
 public:
  // `board` outlives this; one WorkerLoad per worker number.
  WorkerLoad(LoadBoard& board, std::size_t worker, WorkerLoadOptions options = {});
  ~WorkerLoad();  // CHECKs that all leases are back
  WorkerLoad(const WorkerLoad&) = delete;
  WorkerLoad& operator=(const WorkerLoad&) = delete;

  // All workers' loads, one per backend: the others' up to `refresh` old, our own exact. The span
  // stays valid and is kept current by assign() and leases; call again for the others' news.
  std::span<const Load> view(Instant now);

  // Counts a choice from now on: `units` of work, and a watch when `request` is one.
  [[nodiscard]] LoadLease assign(std::size_t backend, RequestClass request, std::uint32_t units);

  // Those whose share is not full; as old as the view.
  BackendMask lowered() const { return lowered_; }

  // An answer has begun. One that is later than usual, or no answer of the backend's making, tells
  // more than that.
  void note_answer(std::size_t backend, AnswerKind kind, std::uint32_t slowness);
  void note_failure(std::size_t backend, AnswerKind kind);
  void note_overload(std::size_t backend, AnswerKind kind);

  // Backends that have said lately, to whichever worker, that they shut down; as old as the view.
  BackendMask draining() const { return draining_; }
  void note_drain(std::size_t backend, Instant now);

  // Backends that may be picked from now on, and those that could be all along: a newcomer starts
  // with what the others were assigned lately on average, by its share. With nothing it would win
  // every tie.
  void join(BackendMask newcomers, BackendMask others);

  LoadBoard& board() { return board_; }
  const LoadBoard& board() const { return board_; }

 private:
  friend class LoadLease;
  struct Counts {
    std::uint32_t work = 0;
    std::uint32_t watches = 0;
    std::uint32_t tunnels = 0;
  };
  void refresh(Instant now);
  void refresh_shares(Instant now);
  void add(std::size_t backend, std::int64_t work, std::int32_t watches);
  void add_tunnels(std::size_t backend, std::int32_t tunnels);
  void complete(std::size_t backend, std::uint32_t work);

  LoadBoard& board_;
  const std::size_t worker_;
  const WorkerLoadOptions options_;
  std::size_t leases_ = 0;
  bool refreshed_ = false;
  Instant refreshed_at_{};
  // Instead of shrinking what was assigned before, later assignments weigh more.
  Instant weight_epoch_{};
  double weight_ = 1.0;
  BackendMask draining_ = 0;
  BackendMask lowered_ = 0;
  LoadBoard::SeenOfAll& seen_;
  std::array<Counts, backends_max> own_{};
  std::array<Load, backends_max> view_{};
};

}  // namespace sluice::balance
