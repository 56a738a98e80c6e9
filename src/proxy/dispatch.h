// SPDX-License-Identifier: GPL-3.0-or-later
// A request's way to a backend: which one was chosen, the stream there, the load that it counts as,
// and where it was before.
#pragma once

#include "attempts.h"
#include "request_plan.h"
#include "shared.h"
#include "sluice/backend/backend_stream.h"

namespace sluice::proxy {

class Dispatch {
 public:
  // Both outlive this.
  Dispatch(backend::StreamHandler& handler, Shared& shared) : shared_(shared), stream_(handler) {}
  ~Dispatch();

  // A new life.
  void begin();
  // From now on one of these is taken, if any is usable, was not tried and has a place.
  void prefer(balance::BackendMask backends) { preferred_ = backends; }
  // It went to one of them.
  bool as_preferred() const {
    return attempts_.any() && (preferred_ & balance::mask_of(attempts_.backend())) != 0;
  }
  // Its present backend began to run less than so long ago.
  bool is_younger_than(Duration age) const;
  // Those that may have history that its present backend does not have, and were not tried.
  balance::BackendMask with_more_history(const RequestPlan& plan, Duration age) const;
  // Sends it to a backend that it was not at; false when there is none.
  bool send(const RequestPlan& plan, bool has_body);
  // Whether one of these is usable, and was not tried.
  bool may_go_to(balance::BackendMask backends, const RequestPlan& plan) const;
  // Whether there is another one, should its present one be out of use.
  bool another(const RequestPlan& plan) const;
  // Gives the stream up, if there is one.
  void leave();
  // There is neither a stream nor a load.
  bool idle() const;

  // Its answer begins; the request was whole at `asked`.
  void answer_began(const RequestPlan& plan, const http::ResponseHead& head, Instant asked);
  // It is not work any more, and only counts as open.
  void settle() { load_.settle(); }
  // Its answer is whole. `brief`: no client can have kept it from being so.
  void answered(const RequestPlan& plan, bool brief);
  // Nothing more comes, because the backend has failed, or nobody waits for it any more although
  // nothing but the backend keeps it.
  void lost(const RequestPlan& plan);
  void given_up(const RequestPlan& plan);
  // A tunnel ends; `in_order`: its client has said so.
  void conclude(bool in_order);
  bool counted() const { return static_cast<bool>(load_); }

  backend::BackendStream& stream() { return stream_; }
  const backend::BackendStream& stream() const { return stream_; }
  Attempts& attempts() { return attempts_; }
  const Attempts& attempts() const { return attempts_; }
  // The one of the last try; empty: there was none.
  std::string_view backend_name() const;

 private:
  balance::BackendMask young(const RequestPlan& plan) const;

  void note_late(const RequestPlan& plan, Duration took);

  Shared& shared_;
  backend::BackendStream stream_;
  balance::LoadLease load_;
  Attempts attempts_;
  balance::BackendMask preferred_ = 0;
  Instant heard_{};  // when the backend was given the request, or has answered since
};

}  // namespace sluice::proxy
