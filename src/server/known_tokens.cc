// SPDX-License-Identifier: GPL-3.0-or-later
// Gathering and telling what is known of tokens.
#include "known_tokens.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "sluice/base/check.h"
#include "worker.h"

namespace sluice::server {
namespace {

constexpr Duration answer_within = std::chrono::seconds(1);
// A tenth of a millisecond of a worker's turn.
constexpr std::size_t told_at_once = 256;

}  // namespace

TokenGathering::TokenGathering(io::Reactor& reactor, std::vector<WorkerPort*> workers)
    : reactor_(reactor),
      workers_(std::move(workers)),
      deadline_(io::Timer::bind<&TokenGathering::finish>(this)) {}

void TokenGathering::ask(Done done) {
  CHECK(!done_);
  done_ = std::move(done);
  gathered_.clear();
  ++question_;
  waiting_ = 0;
  for (WorkerPort* worker : workers_) {
    if (worker->stopped()) continue;
    ++waiting_;
    worker->post([this, question = question_](Worker& asked) {
      reactor_.mailbox().post([this, question, proofs = asked.proven_tokens()]() mutable {
        told(question, std::move(proofs));
      });
    });
  }
  reactor_.timers().set(deadline_, reactor_.now(), waiting_ > 0 ? answer_within : Duration::zero());
}

void TokenGathering::told(std::uint64_t question, std::vector<ClusterProofs> proofs) {
  if (question != question_ || !done_) return;  // too late
  for (ClusterProofs& each : proofs) {
    auto& tokens = gathered_[each.cluster];
    tokens.insert(tokens.end(), each.tokens.begin(), each.tokens.end());
  }
  if (--waiting_ == 0) finish();
}

void TokenGathering::finish() {
  deadline_.cancel();
  std::vector<ClusterProofs> all;
  for (auto& [cluster, tokens] : std::exchange(gathered_, {})) {
    all.push_back({cluster, without_repetitions(std::move(tokens))});
  }
  std::exchange(done_, {})(std::move(all));
}

std::vector<proxy::TokenChange> without_repetitions(std::vector<proxy::TokenChange> tokens) {
  struct Hasher {
    std::size_t operator()(const proxy::TokenHash& hash) const { return hash.low; }
  };
  std::unordered_set<proxy::TokenHash, Hasher> seen;
  std::ranges::reverse(tokens);
  std::erase_if(tokens, [&](const auto& token) { return !seen.insert(token.token).second; });
  std::ranges::reverse(tokens);
  return tokens;
}

InheritedTokens::InheritedTokens(io::Reactor& reactor, std::vector<ClusterProofs> proofs)
    : reactor_(reactor), until_(reactor.now() + told_at_most) {
  for (ClusterProofs& each : proofs) {
    clusters_.emplace_back(
        std::move(each.cluster),
        std::make_shared<const std::vector<proxy::TokenChange>>(std::move(each.tokens)));
  }
}

void InheritedTokens::tell(WorkerPort& worker, std::size_t number, std::string_view cluster) {
  if (reactor_.now() >= until_) return clusters_.clear();
  const auto found =
      std::ranges::find_if(clusters_, [&](const auto& each) { return each.first == cluster; });
  if (found == clusters_.end()) return;
  tell_rest(reactor_, worker, {number, found->first, found->second}, 0);
}

void InheritedTokens::tell_rest(io::Reactor& reactor, WorkerPort& worker, const Telling& telling,
                                std::size_t from) {
  if (from >= telling.tokens->size()) return;
  worker.post([&reactor, &worker, telling, from](Worker& told) {
    if (!told.is_number_of(telling.number, telling.cluster)) return;
    const std::size_t end = std::min(from + told_at_once, telling.tokens->size());
    for (std::size_t i = from; i < end; ++i) told.learn(telling.number, (*telling.tokens)[i]);
    reactor.mailbox().post(
        [&reactor, &worker, telling, end] { tell_rest(reactor, worker, telling, end); });
  });
}

}  // namespace sluice::server
