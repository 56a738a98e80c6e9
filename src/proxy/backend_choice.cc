// SPDX-License-Identifier: GPL-3.0-or-later
// Which backend a request goes to.
#include "backend_choice.h"

#include <bit>
#include <utility>

#include "sluice/balance/steering.h"

namespace sluice::proxy {

backend::Stay stay_of(kubernetes::RequestClass request_class) {
  if (request_class == kubernetes::RequestClass::list) return backend::Stay::lengthy;
  return kubernetes::has_deadline(request_class) ? backend::Stay::brief : backend::Stay::lasting;
}

BackendChoice::BackendChoice(backend::BackendSet& backends, balance::LoadBoard& board,
                             std::size_t worker, const balance::PickerOptions& options,
                             Random& random)
    : backends_(backends), random_(random), picker_(options), load_(board, worker) {
  usable_before_.fill(~balance::BackendMask{0});
}

balance::BackendMask BackendChoice::usable(backend::PoolKind kind) {
  const balance::BackendMask now = backends_.usable(kind);
  balance::BackendMask& before = usable_before_[static_cast<std::size_t>(kind)];
  if (now != before) {
    load_.join(now & ~before, now & before);
    before = now;
  }
  return now;
}

// Those that have said it and did not take it back when they were asked, if at least half of those
// that are usable remain.
balance::BackendMask BackendChoice::draining(balance::BackendMask usable) {
  balance::BackendMask draining = load_.draining() & usable;
  if (draining == 0 && draining_before_ == 0) return 0;
  for (balance::BackendMask rest = draining; rest != 0; rest &= rest - 1) {
    const auto backend = balance::lowest_of(rest);
    const Instant::rep ready =
        backends_.cluster().backends[backend]->ready_as_of.load(std::memory_order_relaxed);
    if (ready >= load_.board().drained_at(backend).time_since_epoch().count()) {
      draining &= ~balance::mask_of(backend);
    }
  }
  if (2 * std::popcount(draining) > std::popcount(usable)) draining = 0;
  const balance::BackendMask before = std::exchange(draining_before_, draining);
  load_.join(usable & before & ~draining, usable & ~before & ~draining);
  return draining;
}

std::optional<BackendChoice::Choice> BackendChoice::choose(const Question& question, Instant now) {
  const balance::RequestClass request = balance_class(question.request_class);
  const std::span<const balance::Load> view = load_.view(now);
  balance::BackendMask among = usable(question.kind);
  const balance::BackendMask rather_not = question.tried | draining(among);
  balance::BackendMask avoided = rather_not;
  if (request != balance::RequestClass::tunnel) {
    avoided |= backends_.full(question.kind, stay_of(question.request_class));
  }
  balance::BackendMask preferred = among & question.preferred & ~avoided;
  if (preferred == 0 && question.young != 0) {
    preferred = balance::with_history(view, among & ~avoided, question.young);
  }
  if (preferred != 0) among = preferred;
  auto picked = picker_.pick(view, among, request, random_, avoided, load_.lowered());
  // Rather wait at one that is full than not be served, and rather there than at one that drains.
  for (const balance::BackendMask less : {rather_not, question.tried}) {
    if (!picked || (avoided & balance::mask_of(*picked)) == 0) break;
    if (avoided == less) continue;
    avoided = less;
    picked = picker_.pick(view, among, request, random_, avoided, load_.lowered());
  }
  if (!picked || (question.tried & balance::mask_of(*picked)) != 0) return std::nullopt;
  const kubernetes::RequestInfo& info = question.info;
  const balance::CostQuestion cost{request, info.api_group, info.resource, info.namespace_name};
  return Choice{*picked, load_.assign(*picked, request, estimate_.units(cost))};
}

void BackendChoice::note(std::size_t backend, balance::AnswerKind kind, Evidence evidence,
                         Duration took) {
  switch (evidence) {
    case Evidence::nothing: return;
    case Evidence::answer: return load_.note_answer(backend, kind, balance::slowness_of(took));
    case Evidence::failure: return load_.note_failure(backend, kind);
    case Evidence::overload: return load_.note_overload(backend, kind);
  }
}

bool BackendChoice::another(backend::PoolKind kind, balance::BackendMask tried,
                            std::size_t leaving) const {
  return (backends_.usable(kind, balance::mask_of(leaving)) & ~tried) != 0;
}

}  // namespace sluice::proxy
