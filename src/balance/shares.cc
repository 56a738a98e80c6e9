// SPDX-License-Identifier: GPL-3.0-or-later
// What starts and what does badly, put together.
#include "sluice/balance/shares.h"

#include <algorithm>
#include <bit>

#include "sluice/base/check.h"

namespace sluice::balance {
namespace {

Answers difference(const Answers& now, const Answers& before) {
  Answers more;
  more.completed = now.completed - before.completed;
  for (std::size_t kind = 0; kind < answer_kinds; ++kind) {
    more.kinds[kind] = {now.kinds[kind].answers - before.kinds[kind].answers,
                        now.kinds[kind].failures - before.kinds[kind].failures,
                        now.kinds[kind].slowness - before.kinds[kind].slowness};
  }
  more.overloads = now.overloads - before.overloads;
  return more;
}

}  // namespace

void Shares::update(const SharesOptions& options, Instant now, std::span<const Backend> backends) {
  CHECK_LE(backends.size(), backends_max);
  if (known_.size() < backends.size()) known_.resize(backends.size());
  const Duration passed = updated_at_ == Instant{} ? Duration::zero() : now - updated_at_;
  updated_at_ = now;
  BackendMask in_use = 0;
  for (std::size_t slot = 0; slot < known_.size(); ++slot) {
    const Backend backend = slot < backends.size() ? backends[slot] : Backend{};
    meet(known_[slot], slot, backend, options);
    if (backend.use == Use::in_use) in_use |= mask_of(slot);
  }
  start_on(options, passed, in_use);
  review_.review(passed, in_use);

  double largest = 0;
  for (BackendMask rest = in_use; rest != 0; rest &= rest - 1) {
    const std::size_t slot = lowest_of(rest);
    known_[slot].weight = known_[slot].start.share() * review_.share(slot);
    largest = std::max(largest, known_[slot].weight);
  }
  for (std::size_t slot = 0; slot < known_.size(); ++slot) {
    Known& known = known_[slot];
    const bool starts = !known.start.over();
    if (known.use == Use::none || in_use == 0) {
      known.share = {};
    } else if (known.use == Use::out) {
      // What it has from the moment on in which it is used again.
      known.share = starts ? Share{SlowStart::first_share, Lowered::starting} : Share{};
    } else {
      const auto weight = static_cast<float>(known.weight / largest);
      const Lowered why = starts ? Lowered::starting : review_.why(slot);
      known.share = weight < 1 ? Share{weight, why} : Share{};
    }
  }
}

void Shares::meet(Known& known, std::size_t slot, const Backend& backend,
                  const SharesOptions& options) {
  const bool another = known.who != backend.who;
  if (another) {
    known = {};
    known.who = backend.who;
    known.answers = backend.answers;
    if (backend.use == Use::in_use) known.start.skip();
  }
  if (another || backend.use != Use::in_use) review_.forget(slot);
  if (backend.use == Use::out && known.use != Use::out) {
    known.start.restart();
    if (options.slow_start.time == Duration::zero()) known.start.skip();
  }
  const Answers more = difference(backend.answers, known.answers);
  known.answers = backend.answers;
  known.completed = static_cast<double>(more.completed);
  if (options.review && backend.use == Use::in_use && known.use == Use::in_use) {
    review_.add(slot, more);
  }
  known.use = backend.use;
}

// Those that start are measured by those that do not.
void Shares::start_on(const SharesOptions& options, Duration passed, BackendMask in_use) {
  double completed = 0;
  std::size_t others = 0;
  for (BackendMask rest = in_use; rest != 0; rest &= rest - 1) {
    const Known& known = known_[lowest_of(rest)];
    if (!known.start.over()) continue;
    completed += known.completed;
    ++others;
  }
  const double mean = others == 0 ? 0 : completed / static_cast<double>(others);
  for (BackendMask rest = in_use; rest != 0; rest &= rest - 1) {
    Known& known = known_[lowest_of(rest)];
    known.start.advance(options.slow_start, passed, known.completed, mean);
  }
}

}  // namespace sluice::balance
