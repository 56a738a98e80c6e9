// SPDX-License-Identifier: GPL-3.0-or-later
// A request's way to a backend.
#include "dispatch.h"

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/kubernetes/answering_server.h"

namespace sluice::proxy {

using StreamState = backend::BackendStream::State;

namespace {

// An answer whose rest took no longer was not late.
constexpr Duration rest_late = std::chrono::milliseconds(250);
// Who gives up sooner has not waited for a backend that is slow.
constexpr Duration patience = std::chrono::seconds(1);

}  // namespace

Dispatch::~Dispatch() { CHECK(!load_); }

void Dispatch::begin() {
  CHECK(idle());
  attempts_ = {};
  preferred_ = 0;
}

bool Dispatch::send(const RequestPlan& plan, bool has_body) {
  CHECK(idle());
  backend::BackendSet& backends = shared_.parts.backends;
  backends.warm_up(plan.pool);
  auto choice = shared_.choice.choose({.kind = plan.pool,
                                       .request_class = plan.request_class,
                                       .info = plan.info,
                                       .tried = attempts_.tried(),
                                       .preferred = preferred_,
                                       .young = young(plan)},
                                      shared_.now());
  if (!choice) return false;
  attempts_.begin(choice->backend);
  load_ = std::move(choice->load);
  heard_ = shared_.now();
  CHECK(load_);
  shared_.parts.events.on_sent(choice->backend, plan.request_class);
  backends.open(stream_, choice->backend, plan.pool,
                {.has_body = has_body,
                 .ends_connection = plan.anonymous,
                 .stay = stay_of(plan.request_class),
                 .switches = plan.request_class == kubernetes::RequestClass::upgrade,
                 .client = plan.client,
                 .connection = plan.connection,
                 .standing = plan.standing});
  return true;
}

bool Dispatch::may_go_to(balance::BackendMask backends, const RequestPlan& plan) const {
  return (shared_.parts.backends.usable(plan.pool) & backends & ~attempts_.tried()) != 0;
}

// Of a watch that goes on.
balance::BackendMask Dispatch::young(const RequestPlan& plan) const {
  if (plan.request_class != kubernetes::RequestClass::watch) return 0;
  return shared_.parts.backends.younger_than(shared_.options.watch_history.steer_age,
                                             shared_.now());
}

bool Dispatch::is_younger_than(Duration age) const {
  CHECK(attempts_.any());
  return (shared_.parts.backends.younger_than(age, shared_.now()) &
          balance::mask_of(attempts_.backend())) != 0;
}

balance::BackendMask Dispatch::with_more_history(const RequestPlan& plan, Duration age) const {
  const backend::BackendSet& backends = shared_.parts.backends;
  return backends.with_more_history(
      attempts_.backend(), backends.usable(plan.pool) & ~attempts_.tried(), age, shared_.now());
}

void Dispatch::answer_began(const RequestPlan& plan, const http::ResponseHead& head,
                            Instant asked) {
  const Instant now = shared_.now();
  const Duration took = now - std::max(asked, heard_);
  heard_ = now;
  const auto kind = compared_as(plan);
  if (!kind) return;
  const Evidence evidence = evidence_of(head, plan, took >= balance::usual_answer);
  shared_.choice.note(attempts_.backend(), *kind, evidence, took);
}

void Dispatch::answered(const RequestPlan& plan, bool brief) {
  if (!load_) return;
  load_.complete();
  const Duration rest = shared_.now() - heard_;
  if (rest >= rest_late && brief) note_late(plan, rest);
}

void Dispatch::given_up(const RequestPlan& plan) {
  const Duration waited = shared_.now() - heard_;
  if (waited >= patience && load_) note_late(plan, waited);
}

void Dispatch::note_late(const RequestPlan& plan, Duration took) {
  const auto kind = compared_as(plan);
  if (!kind || kubernetes::may_be_answered_by_another(plan.info)) return;
  shared_.choice.note(attempts_.backend(), *kind, Evidence::answer, took);
}

void Dispatch::lost(const RequestPlan& plan) {
  if (const auto kind = compared_as(plan)) {
    shared_.choice.note(attempts_.backend(), *kind, Evidence::failure, Duration::zero());
  }
}

bool Dispatch::another(const RequestPlan& plan) const {
  return shared_.choice.another(plan.pool, attempts_.tried(), attempts_.backend());
}

void Dispatch::conclude(bool in_order) {
  stream_.conclude(in_order);
  load_.release();
}

void Dispatch::leave() {
  stream_.cancel();
  load_.release();
}

bool Dispatch::idle() const { return stream_.state() == StreamState::idle && !load_; }

std::string_view Dispatch::backend_name() const {
  if (!attempts_.any()) return {};
  return shared_.parts.backends.endpoint(attempts_.backend()).name;
}

}  // namespace sluice::proxy
