// SPDX-License-Identifier: GPL-3.0-or-later
// Who is gone, and who is only silent.
#include "sluice/net/peer_watch.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>

namespace sluice::net {
namespace {

using namespace std::chrono_literals;

// When the watch finds that the peer is gone, within a day; nothing: it does not.
std::optional<Duration> found(PeerWatch& watch, const std::function<io::PeerSigns(Duration)>& at,
                              int* asked = nullptr, int* looks = nullptr) {
  for (Duration now = watch.first_look(); now < 24h;) {
    const PeerWatch::Verdict verdict = watch.look(at(now));
    if (looks != nullptr) ++*looks;
    if (verdict.gone) return now;
    if (verdict.quiet && asked != nullptr) ++*asked;
    EXPECT_GE(verdict.look_again, 1ms);
    EXPECT_LE(verdict.look_again, PeerWatch::quiet_after);
    now += verdict.look_again;
  }
  return std::nullopt;
}

TEST(PeerWatchTest, WhoVanishesIsFoundWhenItsTimeIsOver) {
  for (const Duration vanished : {0s, 1s, 24s, 25s, 26s, 80s, 1000s}) {
    PeerWatch watch(90s);
    int asked = 0;
    const auto at = [&](Duration now) -> io::PeerSigns {
      if (now <= vanished) return {};
      return {now - vanished, 1, false};
    };
    const auto gone = found(watch, at, &asked);
    ASSERT_TRUE(gone.has_value());
    EXPECT_GE(*gone - vanished, 90s);
    EXPECT_LE(*gone - vanished, 95s) << vanished.count();
    EXPECT_GE(asked, 2);
  }
}

// TCP asks a closed window every two minutes at last: its owner's machine answers.
TEST(PeerWatchTest, AClosedWindowIsNoSilenceHoweverLongItIsClosed) {
  PeerWatch watch(90s);
  const auto at = [](Duration now) -> io::PeerSigns { return {now % Duration(2min), 0, false}; };
  EXPECT_FALSE(found(watch, at));
}

// An answer that is just on its way at a look, and there at the next.
TEST(PeerWatchTest, OneLookIsNotEnough) {
  PeerWatch watch(90s);
  EXPECT_FALSE(watch.look({10min, 1, false}).gone);  // a machine that was suspended
  EXPECT_FALSE(watch.look({1s, 0, false}).gone);
  EXPECT_FALSE(watch.look({10min, 1, false}).gone);
  EXPECT_TRUE(watch.look({10min, 1, false}).gone);
}

TEST(PeerWatchTest, NobodyIsGoneWhoWasNotAsked) {
  PeerWatch watch(90s);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(watch.look({1h, 0, false}).gone);
}

TEST(PeerWatchTest, WhoIsQuietIsToBeAskedBeforeTcpAsks) {
  PeerWatch watch(90s);
  EXPECT_FALSE(watch.look({24s, 0, false}).quiet);
  EXPECT_TRUE(watch.look({25s, 0, false}).quiet);
  EXPECT_LT(PeerWatch::quiet_after, 30s);  // io::configure_stream
}

TEST(PeerWatchTest, WithoutALimitOnlyAResetThatNobodyWasToldOfEndsIt) {
  PeerWatch watch(Duration::zero());
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(watch.look({1h, 5, false}).gone);
  EXPECT_FALSE(watch.look({1h, 1, true}).gone);
  EXPECT_TRUE(watch.look({1h, 1, true}).gone);
}

TEST(PeerWatchTest, WhoIsHeardAllTheTimeIsLookedAtTwoTimesAMinute) {
  PeerWatch watch(90s);
  int asked = 0;
  int looks = 0;
  EXPECT_FALSE(found(watch, [](Duration) { return io::PeerSigns{}; }, &asked, &looks));
  EXPECT_EQ(asked, 0);
  EXPECT_LE(looks, 24 * 60 * 60 / 25 + 1);
}

TEST(PeerWatchTest, AShortLimitLooksSoonEnough) {
  PeerWatch watch(3s);
  const auto gone = found(watch, [](Duration now) { return io::PeerSigns{now, 1, false}; });
  ASSERT_TRUE(gone.has_value());
  EXPECT_GE(*gone, 3s);
  EXPECT_LE(*gone, 3500ms);
}

}  // namespace
}  // namespace sluice::net
