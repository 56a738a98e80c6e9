// SPDX-License-Identifier: GPL-3.0-or-later
// Which backend a request goes to.
#include "backend_choice.h"

#include "sluice/balance/steering.h"

namespace sluice::proxy {
namespace {

balance::RequestClass balance_class(kubernetes::RequestClass request_class) {
  switch (request_class) {
    case kubernetes::RequestClass::short_read: return balance::RequestClass::read;
    case kubernetes::RequestClass::short_write: return balance::RequestClass::write;
    case kubernetes::RequestClass::list: return balance::RequestClass::list;
    case kubernetes::RequestClass::watch: return balance::RequestClass::watch;
    case kubernetes::RequestClass::watch_list: return balance::RequestClass::watch_list;
    case kubernetes::RequestClass::long_running_other: return balance::RequestClass::long_running;
    case kubernetes::RequestClass::upgrade: return balance::RequestClass::tunnel;
  }
  return balance::RequestClass::read;
}

}  // namespace

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

std::optional<BackendChoice::Choice> BackendChoice::choose(const Question& question, Instant now) {
  const balance::RequestClass request = balance_class(question.request_class);
  const std::span<const balance::Load> view = load_.view(now);
  balance::BackendMask among = usable(question.kind);
  balance::BackendMask avoided = question.tried;
  if (request != balance::RequestClass::tunnel) {
    avoided |= backends_.full(question.kind, stay_of(question.request_class));
  }
  balance::BackendMask preferred = among & question.preferred & ~avoided;
  if (preferred == 0 && question.young != 0) {
    preferred = balance::with_history(view, among & ~avoided, question.young);
  }
  if (preferred != 0) among = preferred;
  auto picked = picker_.pick(view, among, request, random_, avoided);
  // Rather wait at one that is full than not be served.
  if (picked && avoided != question.tried && (avoided & balance::mask_of(*picked)) != 0) {
    picked = picker_.pick(view, among, request, random_, question.tried);
  }
  if (!picked || (question.tried & balance::mask_of(*picked)) != 0) return std::nullopt;
  const kubernetes::RequestInfo& info = question.info;
  const balance::CostQuestion cost{request, info.api_group, info.resource, info.namespace_name};
  return Choice{*picked, load_.assign(*picked, request, estimate_.units(cost))};
}

bool BackendChoice::another(backend::PoolKind kind, balance::BackendMask tried,
                            std::size_t leaving) const {
  return (backends_.usable(kind, balance::mask_of(leaving)) & ~tried) != 0;
}

}  // namespace sluice::proxy
