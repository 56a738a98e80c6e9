// SPDX-License-Identifier: GPL-3.0-or-later
// An exchange that is a watch: when it stops being work, and how it ends.
#include <algorithm>
#include <utility>

#include "exchange.h"
#include "sluice/base/check.h"

namespace sluice::proxy {
namespace {

using kubernetes::RequestClass;
using observability::EndedBy;
using What = Deadline::What;

// How long a client whose watch is to end may lag behind its events before it gets no more of them.
constexpr Duration catch_up_max = std::chrono::seconds(5);
// How long an answer that nobody takes keeps a place that others wait for.
constexpr Duration unread_place_held = std::chrono::seconds(1);

}  // namespace

bool Exchange::is_established_watch() const {
  return begun() && kubernetes::is_watch(request_class()) && answer_.head().status == 200;
}

void Exchange::begin_watch() {
  CHECK(is_established_watch());
  using Start = WatchEndRule::Start;
  const kubernetes::RequestInfo& info = plan_.info;
  const bool marked = info.send_initial_events == true && info.allow_watch_bookmarks;
  const Start start = request_class() == RequestClass::watch ? Start::resumed
                      : marked                               ? Start::existing_and_mark
                                                             : Start::existing_objects;
  watch_.rule.begin(start, info.resumes(), now());
  look_at_first_burst();
}

// Until its first burst is over a watch is work, like the list that it takes the place of; from
// then on it only counts as open.
void Exchange::look_at_first_burst() {
  CHECK(is_established_watch());
  const auto again =
      watch_.rule.look_at_burst(shared_.options.watch_end, answer_.body().pending() > 0, now());
  if (again) return deadline_.set(What::first_burst, *again);
  dispatch_.settle();
  if (watch_.retiring) return end_soon(WatchEnd::retired);
  if (shared_.end_window) plan_end(*shared_.end_window);
}

// Plans a clean end of the client's stream: client-go then goes on from where it was. While the
// backend's stream lives its events are forwarded until then.
void Exchange::end_watch(WatchEnd why, Instant when) {
  CHECK(is_established_watch());
  CHECK(client_ != nullptr);
  watch_.why = why;
  remember_source();
  switch (why) {
    case WatchEnd::backend_ended: record_.ended_by = EndedBy::completed; break;
    case WatchEnd::backend_lost: record_.ended_by = EndedBy::backend_lost; break;
    case WatchEnd::retired:
    case WatchEnd::drain: record_.ended_by = EndedBy::drain; break;
  }
  set_state(State::ending);
  watch_.ends_at = when;
  deadline_.cancel();
  client_->resume_body(client_stream_);  // now, or when watch_may_end() says
}

void Exchange::end_soon(WatchEnd why) {
  end_watch(why, watch_.rule.soon(shared_.options.watch_end, now(), shared_.random));
}

// Asked when nothing waits for the client. Bytes that left after the end was planned may have moved
// it.
bool Exchange::watch_may_end() {
  const Instant when = std::max(watch_.ends_at, watch_.rule.earliest(shared_.options.watch_end));
  if (when <= now()) return true;
  if (!deadline_.waits() || deadline_.when() > when) deadline_.set(What::watch_end, when);
  return false;
}

// The end goes out when nothing waits for the client, which may never be while events come.
void Exchange::watch_end_due() {
  const Instant give_up = watch_.ends_at + catch_up_max;
  if (now() < give_up) {
    deadline_.set(What::watch_end, give_up);
  } else {
    leave_backend();
  }
  client_->resume_body(client_stream_);
}

// END_STREAM leaves; the backend's stream, if there still is one, ends with the client's.
void Exchange::watch_ended() {
  CHECK_EQ(answer_.body().pending(), std::size_t{0});
  shared_.count(metrics().watches_ended.at(watch_.why));
  deadline_.cancel();
  set_state(State::finishing);
}

bool Exchange::on_connection_retiring(backend::Retiring who) {
  const bool for_others = who == backend::Retiring::for_others;
  if (for_others && begun() && !is_established_watch()) return leave_unread();
  if (state_ != State::forwarding || !is_established_watch()) return false;
  if (who == backend::Retiring::those_that_resume && !watch_.rule.resumes()) return false;
  if (std::exchange(watch_.retiring, true)) return false;
  if (watch_.rule.burst_over()) end_soon(WatchEnd::retired);
  return true;
}

// Others wait for the place of an answer that nobody takes.
bool Exchange::leave_unread() {
  if (!answer_.stands_still(begun(), now(), unread_place_held)) return false;
  shared_.count(metrics().made_room);
  record_.reason = "its client takes nothing, and others wait for its place";
  cut(Cut::stalled, EndedBy::client_stalled);
  return true;
}

void Exchange::plan_end(const EndWindow& window) {
  if (state_ != State::forwarding || !is_established_watch() || !watch_.rule.burst_over()) return;
  end_watch(WatchEnd::drain,
            watch_.rule.within(shared_.options.watch_end, window, now(), shared_.random));
}

// A clean end would make client-go start it again at once; a reset makes it wait.
void Exchange::cut_first_burst() {
  if (state_ != State::forwarding || !is_established_watch() || watch_.rule.burst_over()) return;
  shared_.count(metrics().watches_cut);
  record_.reason = "the drain was over before its existing objects were sent";
  cut(Cut::truncated, EndedBy::drain);
}

}  // namespace sluice::proxy
