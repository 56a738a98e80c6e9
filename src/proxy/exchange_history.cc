// SPDX-License-Identifier: GPL-3.0-or-later
// An exchange that is a watch which goes on from where it was, on a backend that may know nothing
// of that time: its head waits for the first event, and a 410 sends it to an older backend, once.
#include "exchange.h"
#include "sluice/base/check.h"
#include "sluice/kubernetes/watch_event.h"
#include "sluice/observability/log.h"

namespace sluice::proxy {
namespace {

using kubernetes::FirstEvent;
using kubernetes::RequestClass;
using What = Deadline::What;

}  // namespace

// Of the answer's head, which has just come.
bool Exchange::may_lack_history() const {
  if (request_class() != RequestClass::watch) return false;
  const WatchHistoryOptions& options = shared_.options.watch_history;
  const int status = answer_.head().status;
  const bool tells = status == 410 || (status == 200 && !answer_.head_only());
  if (!tells || options.hold == Duration::zero()) return false;
  if (watch_.moved) return true;  // does an old one know more?
  const kubernetes::RequestInfo& info = plan_.info;
  if (info.resource_version.empty() || info.resource_version == "0") return false;
  return dispatch_.is_younger_than(options.hold_age) &&
         dispatch_.with_more_history(plan_, options.hold_age) != 0 &&
         !shared_.expired_resources.contains(info.api_group, info.resource, info.resource_version,
                                             now());
}

void Exchange::hold_watch() {
  shared_.count(metrics().watches_held);
  set_state(State::holding);
  if (answer_.head().status == 410) return watch_expired();
  deadline_.set(What::first_event, now() + shared_.options.watch_history.hold);
}

void Exchange::look_at_first_event() {
  CHECK(state_ == State::holding);
  const BodyFlow& body = answer_.body();
  const bool short_enough = body.pending() <= kubernetes::first_event_bytes_max;
  switch (short_enough ? kubernetes::look_at_first_event(answer_.head(), body.peek())
                       : FirstEvent::other) {
    case FirstEvent::unfinished: return;
    case FirstEvent::expired: return watch_expired();
    case FirstEvent::other: return forward_held();
  }
}

void Exchange::watch_expired() {
  deadline_.cancel();
  const WatchHistoryOptions& options = shared_.options.watch_history;
  if (!watch_.moved) {
    const balance::BackendMask better = dispatch_.with_more_history(plan_, options.hold_age);
    if (better != 0 && upload_.body().whole()) {
      watch_.moved = true;
      dispatch_.prefer(better);
      send_again(ReplayCause::no_history, "it has no history for a watch");
      return;
    }
  } else if (!dispatch_.is_younger_than(options.hold_age)) {
    const kubernetes::RequestInfo& info = plan_.info;
    if (shared_.expired_resources.learn(info.api_group, info.resource, info.resource_version,
                                        now())) {
      log::info("a watch got 410 from an old API server, too: such ones are not held back",
                {{"group", info.api_group}, {"resource", info.resource}});
    }
  }
  shared_.count(metrics().watches_expired);
  forward_held();
}

// The client gets it as it came.
void Exchange::forward_held() {
  forward_head();
  client_->resume_body(client_stream_);
}

}  // namespace sluice::proxy
