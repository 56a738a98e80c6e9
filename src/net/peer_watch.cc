// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a peer that may take its time is still there.
#include "sluice/net/peer_watch.h"

#include <algorithm>

namespace sluice::net {

Duration PeerWatch::quiet_time() const {
  return silence_max_ > Duration::zero() ? std::min(quiet_after, silence_max_ / 3) : quiet_after;
}

Duration PeerWatch::time_to_answer() const {
  return silence_max_ > Duration::zero() ? std::min(answer_time, silence_max_ / 6) : answer_time;
}

PeerWatch::Verdict PeerWatch::look(const io::PeerSigns& signs) {
  const Duration silence = signs.silence;
  const bool unanswered = silence_max_ > Duration::zero() && signs.unanswered > 0;
  const bool silent = signs.reset || (unanswered && silence >= silence_max_ - time_to_answer());
  const bool over = signs.reset || silence >= silence_max_;
  Verdict verdict;
  verdict.gone = silent && suspected_ && over;
  suspected_ = silent;
  verdict.quiet = silence >= quiet_time();
  const Duration next = silent          ? silence_max_ - silence
                        : verdict.quiet ? silence_max_ - time_to_answer() - silence
                                        : quiet_time() - silence;
  verdict.look_again = std::clamp(next, time_to_answer(), quiet_time());
  return verdict;
}

}  // namespace sluice::net
