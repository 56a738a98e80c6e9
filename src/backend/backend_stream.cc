// SPDX-License-Identifier: GPL-3.0-or-later
// The backend side of one exchange.
#include "sluice/backend/backend_stream.h"

#include <utility>

#include "sluice/base/check.h"

namespace sluice::backend {

std::string_view to_string(StreamEnd::Cause cause) {
  switch (cause) {
    case StreamEnd::Cause::completed: return "completed";
    case StreamEnd::Cause::reset: return "reset";
    case StreamEnd::Cause::too_large: return "too_large";
    case StreamEnd::Cause::refused: return "refused";
    case StreamEnd::Cause::connection_lost: return "connection_lost";
    case StreamEnd::Cause::not_connected: return "not_connected";
    case StreamEnd::Cause::no_place: return "no_place";
  }
  return "unknown";
}

void BackendStream::cancel() {
  if (carrier_ != nullptr) carrier_->cancel(*this);
  let_go();
}

void BackendStream::conclude(bool in_order) {
  if (carrier_ != nullptr) carrier_->conclude(*this, in_order);
  let_go();
}

void BackendStream::wait(Carrier& carrier, const Carriage& carriage) {
  CHECK(state_ == State::idle || state_ == State::ended);
  CHECK(carrier_ == nullptr);
  CHECK(!ListNode<WaitingTag>::linked());
  CHECK(!ListNode<OpenTag>::linked());
  state_ = State::waiting;
  carrier_ = &carrier;
  carriage_ = carriage;
  carriage_.request_sent = !carriage.has_body;
}

void BackendStream::open_on(Carrier& carrier) {
  CHECK(state_ == State::waiting);
  CHECK(carrier_ != nullptr);
  CHECK(!ListNode<OpenTag>::linked());
  state_ = State::open;
  carrier_ = &carrier;
}

void BackendStream::let_go() {
  CHECK(!ListNode<OpenTag>::linked());
  state_ = State::idle;
  carrier_ = nullptr;
  carriage_ = {};
}

void BackendStream::end(const StreamEnd& end) {
  CHECK(state_ == State::waiting || state_ == State::open);
  let_go();
  state_ = State::ended;
  handler_.on_stream_ended(end);
}

}  // namespace sluice::backend
