// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a peer that may take its time is still there: pure, what TCP knows is a parameter.
//
// TCP asks by itself: by keep-alive probes when nothing is on the way, by sending again what was
// not acknowledged, and by probes of a closed window, which are up to two minutes apart. So silence
// alone proves nothing, and an answer may just be on its way at any look: gone is who was silent
// twice, though it was asked. A closed window is no silence: its owner's machine answers probes.
#pragma once

#include "sluice/base/time.h"
#include "sluice/io/socket.h"

namespace sluice::net {

class PeerWatch {
 public:
  // After so long without a sign it should be asked something, before TCP's keep-alive does it:
  // whoever stands between the two and has timeouts of its own sees bytes, then.
  static constexpr Duration quiet_after = std::chrono::seconds(25);
  // Within which an answer comes, if one does.
  static constexpr Duration answer_time = std::chrono::seconds(5);

  // `silence_max`: zero: whatever it does, only a reset that nobody was told of ends it.
  explicit PeerWatch(Duration silence_max) : silence_max_(silence_max) {}

  struct Verdict {
    bool quiet = false;  // it should be asked something
    bool gone = false;
    Duration look_again{};
  };
  Verdict look(const io::PeerSigns& signs);
  // The first look, from the beginning.
  Duration first_look() const { return quiet_time(); }

 private:
  Duration quiet_time() const;
  Duration time_to_answer() const;

  Duration silence_max_;
  bool suspected_ = false;  // at the last look
};

}  // namespace sluice::net
