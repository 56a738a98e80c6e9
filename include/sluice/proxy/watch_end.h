// SPDX-License-Identifier: GPL-3.0-or-later
// When a watch may end: what is known of it and the time in, instants out.
//
// client-go calls a watch an error that brought no event and lived less than a second by its own
// clock, and lists everything again (k8s.io/client-go tools/cache/reflector.go). For a resumed
// watch that clock starts with the request. For one that begins with the objects that exist, it
// starts again when the client has processed them, which on a busy machine takes a while. Where
// these end cannot be seen: 1.37 compresses such watches, and other servers send no mark. So what
// comes before the first pause counts as the first burst.
#pragma once

#include <cstdint>
#include <optional>

#include "sluice/base/random.h"
#include "sluice/base/time.h"

namespace sluice::proxy {

struct WatchEndOptions {
  Duration plain_min = std::chrono::seconds(2);  // after the head
  // A pause this long ends the first burst, which ends at latest so long after the head.
  Duration burst_pause = std::chrono::milliseconds(500);
  Duration burst_max = std::chrono::seconds(30);
  Duration after_burst_min = std::chrono::seconds(4);
  // And a second more for so many bytes of it, as they are on the wire.
  std::uint64_t burst_bytes_per_second = 10'000'000;
  // Watches that must end do so spread over this.
  Duration jitter = std::chrono::milliseconds(800);

  friend bool operator==(const WatchEndOptions&, const WatchEndOptions&) = default;
};

// A stretch of time in which we end watches of our own accord.
struct EndWindow {
  Instant from{};
  Instant until{};
};

class WatchEndRule {
 public:
  enum class Start : std::uint8_t {
    resumed,            // only what is new
    existing_objects,   // first the objects that exist, if there are any
    existing_and_mark,  // the same, and at least a mark of their end
  };

  // The answer's head has left. `resumes`: the client goes on by itself after a clean end, without
  // anybody noticing (its query has allowWatchBookmarks and timeoutSeconds).
  void begin(Start start, bool resumes, Instant head);
  // Bytes have left for the client.
  void on_bytes(std::uint64_t bytes, Instant now) {
    if (!burst_over_) count_burst(bytes, now);
  }
  // Nothing more comes, only what waits may still leave.
  void source_ended() { source_ended_ = true; }

  // Looks whether the first burst is over, and when to look again if not. `waiting`: bytes wait for
  // the client.
  std::optional<Instant> look_at_burst(const WatchEndOptions& options, bool waiting, Instant now);
  bool burst_over() const { return burst_over_; }
  // Whether the client cannot tell that objects are missing if it ends now in order.
  bool lacks_objects() const { return start_ == Start::existing_objects && !burst_over_; }
  // The source has ended when the client had asked for it: that is no end of ours.
  void ended_as_asked() { as_asked_ = true; }
  Duration age(Instant now) const { return now - head_; }  // since its head
  bool resumes() const { return resumes_; }

  // No end before this, whoever wants it; while the first burst goes on, more bytes move it.
  Instant earliest(const WatchEndOptions& options) const;
  // For one that must end, because its source is gone or is to be left.
  Instant soon(const WatchEndOptions& options, Instant now, Random& random) const;
  // For one that is to end within a window: those that resume in its first half, the others in its
  // second. Later than the window if it may not end before.
  Instant within(const WatchEndOptions& options, const EndWindow& window, Instant now,
                 Random& random) const;

 private:
  void count_burst(std::uint64_t bytes, Instant now) {
    burst_bytes_ += bytes;
    last_byte_ = now;
  }

  Start start_ = Start::resumed;
  bool resumes_ = false;
  bool source_ended_ = false;
  bool as_asked_ = false;
  bool burst_over_ = true;
  Instant head_{};
  Instant last_byte_{};  // of the first burst; the head's until there is one
  std::uint64_t burst_bytes_ = 0;
};

}  // namespace sluice::proxy
