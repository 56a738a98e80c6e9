// SPDX-License-Identifier: GPL-3.0-or-later
// Backends compared with their peers.
#include "sluice/balance/peer_review.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "sluice/base/check.h"

namespace sluice::balance {
namespace {

constexpr Duration memory = std::chrono::seconds(10);  // time constant
// What more answers have said is forgotten sooner: one that becomes slow gives few answers by which
// it could be seen, after thousands that were good.
constexpr double timed_max = 100;
constexpr double answers_max = 300;
// Fewer answers of a kind say nothing: a few that are late may be chance.
constexpr double answers_min = 20;
// Three times as late as usual for the peers is late; from there on the share shrinks as it grows.
constexpr double late_octaves = 1.585;
// One in twenty more than the peers fail is failing; a third more leaves the least.
constexpr double failing_part = 0.05;
constexpr double failing_slope = 3;
// What nobody knows any more is given back as slowly.
constexpr Duration relaxed_within = std::chrono::seconds(30);
// A burst of refusals costs so much, and as much as this takes to be forgotten.
constexpr Duration burst = std::chrono::seconds(1);
constexpr double overload_cost = 0.7;
constexpr double overloads_min = 3;
constexpr double overloaded_part = 0.05;
constexpr Duration overload_forgotten_within = std::chrono::seconds(10);

constexpr double noticeable = 0.99;

// At least half of the values are this or less.
double lower_median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

// So much of a count and of a sum over it, and no more than of so many.
void keep(double& count, double& sum, double part, double count_max) {
  if (count * part > count_max) part = count_max / count;
  count *= part;
  sum *= part;
}

// How much more than a part of so many may be chance: three standard deviations.
double by_chance(double part, double count) { return 3 * std::sqrt(part / count); }

double toward_full(double share, Duration passed, Duration within) {
  return std::min(1.0, share + to_seconds(passed) / to_seconds(within));
}

}  // namespace

std::string_view to_string(Lowered lowered) {
  switch (lowered) {
    case Lowered::no: return "no";
    case Lowered::starting: return "starting";
    case Lowered::slow: return "slow";
    case Lowered::failing: return "failing";
    case Lowered::overloaded: return "overloaded";
  }
  return "unknown";
}

PeerReview::Peer& PeerReview::peer(std::size_t backend) {
  CHECK_LT(backend, backends_max);
  if (backend >= peers_.size()) peers_.resize(backend + 1);
  return peers_[backend];
}

void PeerReview::add(std::size_t backend, const Answers& more) {
  Peer& peer = this->peer(backend);
  for (std::size_t kind = 0; kind < answer_kinds; ++kind) {
    peer.kinds[kind].answers += more.kinds[kind].answers;
    peer.kinds[kind].failures += more.kinds[kind].failures;
    peer.kinds[kind].timed += more.kinds[kind].answers;
    peer.kinds[kind].slowness += static_cast<double>(more.kinds[kind].slowness);
    if (static_cast<AnswerKind>(kind) != AnswerKind::list) {
      peer.answers += more.kinds[kind].answers;
    }
  }
  peer.overloads += more.overloads;
}

void PeerReview::review(Duration passed, BackendMask among) {
  if (among != 0) peer(static_cast<std::size_t>(std::bit_width(among)) - 1);
  for (std::size_t kind = 0; kind < answer_kinds; ++kind) {
    judge(static_cast<AnswerKind>(kind), passed, among);
  }
  const double kept = std::exp(-to_seconds(passed) / to_seconds(memory));
  for (BackendMask rest = among; rest != 0; rest &= rest - 1) {
    Peer& peer = peers_[lowest_of(rest)];
    peer.overloaded = toward_full(peer.overloaded, passed, overload_forgotten_within);
    for (Peer::Kind& kind : peer.kinds) {
      keep(kind.answers, kind.failures, kept, answers_max);
      keep(kind.timed, kind.slowness, kept, timed_max);
    }
  }
  since_overloads_ += passed;
  if (since_overloads_ >= burst) judge_overloads(among);
  settle(among);
}

void PeerReview::judge(AnswerKind kind, Duration passed, BackendMask among) {
  std::vector<Peer::Kind*> judged;
  std::vector<double> late;
  std::vector<double> failing;
  for (BackendMask rest = among; rest != 0; rest &= rest - 1) {
    Peer::Kind& seen = peers_[lowest_of(rest)].kinds[static_cast<std::size_t>(kind)];
    seen.late = toward_full(seen.late, passed, relaxed_within);
    seen.failing = toward_full(seen.failing, passed, relaxed_within);
    if (seen.answers < answers_min) continue;
    judged.push_back(&seen);
    late.push_back(seen.slowness / seen.timed / slowness_steps);
    failing.push_back(seen.failures / seen.answers);
  }
  if (judged.size() < 2) return;
  std::vector<double> sorted = late;
  const double usual_late = lower_median(sorted);
  sorted = failing;
  const double usual_failing = lower_median(sorted);
  for (std::size_t i = 0; i < judged.size(); ++i) {
    const double octaves = late[i] - usual_late - late_octaves;
    judged[i]->late = std::clamp(std::exp2(-octaves), least_share, 1.0);
    const double chance = by_chance(usual_failing, judged[i]->answers);
    const double part = failing[i] - usual_failing - failing_part - chance;
    judged[i]->failing = std::clamp(1.0 - failing_slope * part, least_share, 1.0);
  }
}

// When all turn requests away, nobody gets less for it.
void PeerReview::judge_overloads(BackendMask among) {
  since_overloads_ = Duration::zero();
  std::vector<double> parts;
  for (BackendMask rest = among; rest != 0; rest &= rest - 1) {
    const Peer& peer = peers_[lowest_of(rest)];
    parts.push_back(peer.answers > 0 ? peer.overloads / peer.answers : 0);
  }
  if (!parts.empty()) {
    const double usual = lower_median(parts);
    for (BackendMask rest = among; rest != 0; rest &= rest - 1) {
      Peer& peer = peers_[lowest_of(rest)];
      if (peer.overloads < overloads_min || peer.answers == 0) continue;
      const double chance = by_chance(usual, peer.answers);
      if (peer.overloads / peer.answers <= usual + overloaded_part + chance) continue;
      peer.overloaded = std::max(least_share, peer.overloaded * overload_cost);
    }
  }
  for (Peer& peer : peers_) peer.answers = peer.overloads = 0;
}

// Different faults may be found with different backends: of more than half the worst are taken.
void PeerReview::settle(BackendMask among) {
  std::vector<std::size_t> lowered;
  for (BackendMask rest = among; rest != 0; rest &= rest - 1) {
    Peer& peer = peers_[lowest_of(rest)];
    double late = 1;
    double failing = 1;
    for (const Peer::Kind& kind : peer.kinds) {
      late = std::min(late, kind.late);
      failing = std::min(failing, kind.failing);
    }
    peer.share = std::max(least_share, late * failing * peer.overloaded);
    peer.why = Lowered::no;
    if (peer.share >= noticeable) {
      peer.share = 1;
      continue;
    }
    const double worst = std::min({late, failing, peer.overloaded});
    peer.why = worst == late      ? Lowered::slow
               : worst == failing ? Lowered::failing
                                  : Lowered::overloaded;
    lowered.push_back(lowest_of(rest));
  }
  const auto most = static_cast<std::size_t>(std::popcount(among) / 2);
  if (lowered.size() <= most) return;
  std::ranges::sort(lowered, {}, [this](std::size_t backend) { return peers_[backend].share; });
  for (std::size_t i = most; i < lowered.size(); ++i) {
    peers_[lowered[i]].share = 1;
    peers_[lowered[i]].why = Lowered::no;
  }
}

}  // namespace sluice::balance
