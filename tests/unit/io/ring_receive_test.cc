// SPDX-License-Identifier: GPL-3.0-or-later
// Receiving through the kernel's ring, with one operation for a whole connection and with one for
// each piece: owners must not see a difference.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "ring_fixture.h"
#include "sluice/base/random.h"

#if defined(__SANITIZE_ADDRESS__)
#define SLUICE_TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLUICE_TEST_ASAN 1
#endif
#endif
#ifdef SLUICE_TEST_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace sluice::io {
namespace {

std::string random_text(Random& random, std::size_t size) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>('a' + random.below(26));
  return text;
}

class RingReceiveTest : public testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<Ring> make(RingOptions options = {}) const {
    options.one_shot_receive = GetParam();
    return make_ring(options);
  }
};

INSTANTIATE_TEST_SUITE_P(, RingReceiveTest, testing::Bool(), [](const auto& parameter) {
  return std::string(parameter.param ? "OneShot" : "Multishot");
});

TEST_P(RingReceiveTest, TakesOnePieceWhenAskedForOne) {
  const auto ring = make({.receive_buffers = 2, .receive_buffer_bytes = 64});
  auto [near, far] = local_pair();
  far.write(std::string(100, 'x'));
  Recorder receive(*ring);
  ring->receive_once(receive.operation, near.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return receive.ended(); }));
  EXPECT_EQ(receive.data, std::string(64, 'x'));
  Recorder again(*ring);
  ring->receive_once(again.operation, near.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return again.ended(); }));
  EXPECT_EQ(again.data, std::string(36, 'x'));
  far.close();
  Recorder end(*ring);
  ring->receive_once(end.operation, near.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return end.ended(); }));
  EXPECT_EQ(end.last_result(), 0);
}

TEST_P(RingReceiveTest, WhatBringsLittleDoesNotWaitForWhatBringsMuch) {
  const auto ring = make({.receive_buffers = 64,
                          .receive_buffer_bytes = 64,
                          .completion_time_per_turn = Duration::zero()});
  auto [much, far_much] = local_pair();
  auto [little, far_little] = local_pair();
  Random random(7);
  const std::string text = random_text(random, 4000);
  far_much.write(text);
  far_little.write("little");
  Recorder of_much(*ring);
  Recorder of_little(*ring);
  ring->receive(of_much.operation, much.get());
  ring->receive(of_little.operation, little.get());
  // Each turn has time for one piece of each.
  std::size_t turns = 0;
  ASSERT_TRUE(turn_until(*ring, [&] {
    EXPECT_LE(of_much.data.size(), 64 * turns);
    ++turns;
    return !of_little.data.empty();
  }));
  EXPECT_LE(turns, 3U);
  ASSERT_TRUE(turn_until(*ring, [&] { return of_much.data.size() == text.size(); }));
  EXPECT_EQ(of_much.data, text);
  EXPECT_EQ(of_little.data, "little");
}

TEST_P(RingReceiveTest, ACancelComesBehindWhatWasPutOff) {
  const auto ring = make({.receive_buffers = 64,
                          .receive_buffer_bytes = 64,
                          .completion_time_per_turn = Duration::zero()});
  auto [near, far] = local_pair();
  Random random(8);
  const std::string text = random_text(random, 2000);
  far.write(text);
  Recorder receive(*ring);
  receive.then = [&](const Completion&) { ring->cancel(receive.operation); };
  ring->receive(receive.operation, near.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return receive.ended(); }));
  EXPECT_EQ(receive.data, text.substr(0, receive.data.size()));
  Recorder rest(*ring);
  ring->receive(rest.operation, near.get());
  ASSERT_TRUE(
      turn_until(*ring, [&] { return receive.data.size() + rest.data.size() == text.size(); }));
  EXPECT_EQ(receive.data + rest.data, text);
}

TEST_P(RingReceiveTest, DeliversAllBytesInOrderAndThenTheEndOnce) {
  const auto ring = make();
  auto [near, far] = local_pair();
  Recorder receive(*ring);
  ring->receive(receive.operation, near.get());
  EXPECT_EQ(ring->in_flight(), 1U);
  for (int i = 0; i < 50; ++i) {
    far.write("piece " + std::to_string(i) + ";");
    const std::size_t before = receive.data.size();
    ASSERT_TRUE(turn_until(*ring, [&] { return receive.data.size() > before; }));
    ASSERT_TRUE(receive.operation.in_flight());
  }
  shutdown_send(far.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return receive.ended(); }));
  EXPECT_EQ(receive.last_result(), 0);
  std::string expected;
  for (int i = 0; i < 50; ++i) expected += "piece " + std::to_string(i) + ";";
  EXPECT_EQ(receive.data, expected);
  EXPECT_EQ(ring->in_flight(), 0U);
}

TEST_P(RingReceiveTest, SeesAnEndThatComesRightAfterData) {
  const auto ring = make();
  const TestListener listener;
  for (int i = 0; i < 200; ++i) {
    auto [near, far] = i % 2 == 0 ? listener.pair() : local_pair();
    Recorder receive(*ring);
    ring->receive(receive.operation, near.get());
    if (i % 4 < 2) look(*ring);  // armed and polling, or not even submitted
    far.write("last words");
    shutdown_send(far.get());
    ASSERT_TRUE(turn_until(*ring, [&] { return receive.ended(); })) << i;
    EXPECT_EQ(receive.data, "last words");
    EXPECT_EQ(receive.last_result(), 0);
  }
}

TEST_P(RingReceiveTest, ReceivesBehindItsOwnEndOfStream) {
  const auto ring = make();
  const TestListener listener;
  auto [near, far] = listener.pair();
  Recorder near_receive(*ring);
  Recorder far_receive(*ring);
  ring->receive(near_receive.operation, near.get());
  ring->receive(far_receive.operation, far.get());
  shutdown_send(near.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return far_receive.ended(); }));
  EXPECT_EQ(far_receive.last_result(), 0);
  // Half closed: the other direction lives on.
  far.write("still here");
  ASSERT_TRUE(turn_until(*ring, [&] { return near_receive.data == "still here"; }));
  EXPECT_FALSE(near_receive.ended());
  shutdown_send(far.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return near_receive.ended(); }));
}

TEST_P(RingReceiveTest, ReportsAResetAsAnError) {
  const auto ring = make();
  const TestListener listener;
  auto [near, far] = listener.pair();
  Recorder receive(*ring);
  ring->receive(receive.operation, near.get());
  look(*ring);
  reset_on_close(far.get());
  far.close();
  ASSERT_TRUE(turn_until(*ring, [&] { return receive.ended(); }));
  EXPECT_EQ(receive.last_result(), -ECONNRESET);
}

// Two buffers of 64 bytes for a hundred connections: almost every receive finds none.
TEST_P(RingReceiveTest, NeverLosesOrReordersBytesNorEndsEarlyWhenBuffersRunOut) {
  const auto ring = make({.receive_buffers = 2, .receive_buffer_bytes = 64});
  const TestListener listener;
  Random random(4711);
  struct Peer {
    TestSocket near;
    TestSocket far;
    std::string text;
    std::size_t sent = 0;
    std::unique_ptr<Recorder> receive;
  };
  std::vector<Peer> peers;
  for (int i = 0; i < 100; ++i) {
    Peer peer;
    auto [near, far] = i % 2 == 0 ? listener.pair() : local_pair();
    peer.near = std::move(near);
    peer.far = std::move(far);
    // Some only end.
    peer.text = i % 10 == 0 ? "" : random_text(random, 1 + random.below(4000));
    peer.receive = std::make_unique<Recorder>(*ring);
    ring->receive(peer.receive->operation, peer.near.get());
    peers.push_back(std::move(peer));
  }
  std::size_t unsent = peers.size();
  while (unsent > 0) {
    Peer& peer = peers[random.below(static_cast<std::uint32_t>(peers.size()))];
    if (peer.sent > peer.text.size()) continue;
    const std::size_t size =
        std::min<std::size_t>(peer.text.size() - peer.sent, 1 + random.below(1500));
    if (size > 0) peer.far.write(std::string_view(peer.text).substr(peer.sent, size));
    peer.sent += size;
    if (peer.sent == peer.text.size()) {
      shutdown_send(peer.far.get());
      ++peer.sent;
      --unsent;
    }
    if (random.below(4) == 0) look(*ring);
  }
  ASSERT_TRUE(turn_until(*ring, [&] { return ring->in_flight() == 0; }));
  for (const Peer& peer : peers) {
    EXPECT_EQ(peer.receive->data, peer.text);
    EXPECT_EQ(peer.receive->last_result(), 0);
  }
  EXPECT_GT(ring->counters().receive_starved, 0U);
}

TEST_P(RingReceiveTest, ServesStarvedConnectionsBesideOneThatNeverStops) {
  const auto ring = make({.receive_buffers = 2, .receive_buffer_bytes = 64});
  auto [hot_near, hot_far] = local_pair();
  Recorder hot(*ring);
  const std::string flood(20'000, 'x');
  hot.then = [&](const Completion&) {
    hot.data.clear();
    (void)::send(hot_far.get(), flood.data(), flood.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  };
  ring->receive(hot.operation, hot_near.get());
  hot_far.write(flood);
  look(*ring);
  std::vector<std::pair<TestSocket, TestSocket>> pairs;
  std::vector<std::unique_ptr<Recorder>> quiet;
  for (int i = 0; i < 20; ++i) {
    pairs.push_back(local_pair());
    quiet.push_back(std::make_unique<Recorder>(*ring));
    ring->receive(quiet.back()->operation, pairs.back().first.get());
    pairs.back().second.write("me, too");
  }
  const std::uint64_t turns_before = ring->counters().turns;
  ASSERT_TRUE(turn_until(*ring, [&] {
    return std::ranges::all_of(quiet, [](const auto& one) { return one->data == "me, too"; });
  }));
  // First come, first served: within about one round.
  EXPECT_LT(ring->counters().turns - turns_before, 200U);
  EXPECT_TRUE(hot.operation.in_flight());
}

TEST_P(RingReceiveTest, ServesStarvedConnectionsInTheOrderInWhichTheyStarved) {
  const auto ring = make({.receive_buffers = 1, .receive_buffer_bytes = 64});
  std::vector<std::pair<TestSocket, TestSocket>> pairs;
  std::vector<std::unique_ptr<Recorder>> receives;
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < 10; ++i) {
    pairs.push_back(local_pair());
    pairs.back().second.write("one");
    receives.push_back(std::make_unique<Recorder>(*ring));
    receives.back()->then = [&order, i](const Completion& completion) {
      if (completion.result > 0) order.push_back(i);
    };
    ring->receive(receives.back()->operation, pairs.back().first.get());
  }
  ASSERT_TRUE(turn_until(*ring, [&] { return order.size() == receives.size(); }));
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_GE(ring->counters().receive_starved, 9U);
}

TEST_P(RingReceiveTest, DoesNotSleepWhileAStarvedConnectionWaitsForItsTurn) {
  const auto ring = make({.receive_buffers = 1, .receive_buffer_bytes = 64});
  std::vector<std::pair<TestSocket, TestSocket>> pairs;
  std::vector<std::unique_ptr<Recorder>> receives;
  for (int i = 0; i < 6; ++i) {
    pairs.push_back(local_pair());
    pairs.back().second.write("one");
    receives.push_back(std::make_unique<Recorder>(*ring));
    ring->receive(receives.back()->operation, pairs.back().first.get());
  }
  look(*ring);  // the first is served, five starve
  // Four have nothing to receive any more: they take their turns without any completion.
  std::array<char, 8> taken{};
  for (std::size_t i = 1; i < 5; ++i) {
    EXPECT_EQ(::recv(pairs[i].first.get(), taken.data(), taken.size(), MSG_DONTWAIT), 3);
  }
  ASSERT_TRUE(turn_until(*ring, [&] { return receives[5]->data == "one"; }));
}

TEST_P(RingReceiveTest, EndsAnIdleReceiveByCancelWithoutTouchingWhatComesLater) {
  const auto ring = make();
  auto [near, far] = local_pair();
  Recorder first(*ring);
  ring->receive(first.operation, near.get());
  look(*ring);
  ring->cancel(first.operation);
  ring->cancel(first.operation);  // has no effect
  ASSERT_TRUE(turn_until(*ring, [&] { return first.ended(); }));
  EXPECT_EQ(first.results, std::vector<std::int32_t>{-ECANCELED});
  ring->cancel(first.operation);  // nor has this

  far.write("for the next");
  look(*ring);
  Recorder second(*ring);
  ring->receive(second.operation, near.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return second.data == "for the next"; }));
}

TEST_P(RingReceiveTest, EndsAReceiveThatIsCancelledBeforeItIsSubmitted) {
  const auto ring = make();
  const TestListener listener;
  for (const bool with_data : {false, true}) {
    for (int i = 0; i < 50; ++i) {
      auto [near, far] = i % 2 == 0 ? listener.pair() : local_pair();
      if (with_data) far.write("early");
      Recorder receive(*ring);
      ring->receive(receive.operation, near.get());
      ring->cancel(receive.operation);
      ASSERT_TRUE(turn_until(*ring, [&] { return receive.ended(); }));
      // What was received has been delivered, the rest is still in the socket.
      std::array<char, 16> rest{};
      const ssize_t left = ::recv(near.get(), rest.data(), rest.size(), MSG_DONTWAIT);
      const std::string all =
          receive.data + std::string(rest.data(), left > 0 ? static_cast<std::size_t>(left) : 0);
      ASSERT_EQ(all, with_data ? "early" : "");
    }
  }
}

// A connection that pauses and resumes at random moments, also from within its callback.
TEST_P(RingReceiveTest, LosesNothingWhenPausedAndResumedAtAnyMoment) {
  const auto ring = make({.receive_buffers = 4, .receive_buffer_bytes = 128});
  const TestListener listener;
  auto [near, far] = listener.pair();
  Random random(17);
  const std::string text = random_text(random, 300'000);
  Recorder* current = nullptr;
  std::vector<std::unique_ptr<Recorder>> receives;
  std::string received;
  bool end = false;
  std::size_t sent = 0;
  std::size_t pauses = 0;
  const auto done = [&] {
    if (end) return true;
    if (current == nullptr || current->ended()) {
      receives.push_back(std::make_unique<Recorder>(*ring));
      current = receives.back().get();
      current->then = [&](const Completion& completion) {
        received += as_text(completion.bytes);
        if (completion.result == 0) end = true;
        if (random.below(3) == 0) ring->cancel(current->operation);
      };
      ring->receive(current->operation, near.get());
    }
    if (sent < text.size() && random.below(2) == 0) {
      const std::size_t size = std::min<std::size_t>(text.size() - sent, 1 + random.below(3000));
      const ssize_t taken =
          ::send(far.get(), text.data() + sent, size, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (taken > 0) sent += static_cast<std::size_t>(taken);
      if (sent == text.size()) shutdown_send(far.get());
    }
    if (random.below(5) == 0 && current->operation.in_flight()) {
      ++pauses;
      ring->cancel(current->operation);
    }
    look(*ring);
    return false;
  };
  const Instant give_up = ring->now() + std::chrono::seconds(30);
  while (!done() && ring->now() < give_up) {
  }
  ASSERT_TRUE(end);
  EXPECT_EQ(received, text);
  EXPECT_GT(pauses, 20U);
  EXPECT_EQ(ring->counters().stale_completions, 0U);
}

TEST_P(RingReceiveTest, EndsAStarvedReceiveByCancel) {
  const auto ring = make({.receive_buffers = 1, .receive_buffer_bytes = 16});
  std::vector<std::pair<TestSocket, TestSocket>> pairs;
  std::vector<std::unique_ptr<Recorder>> receives;
  for (int i = 0; i < 4; ++i) {
    pairs.push_back(local_pair());
    receives.push_back(std::make_unique<Recorder>(*ring));
    ring->receive(receives.back()->operation, pairs.back().first.get());
    pairs.back().second.write("0123456789abcdef");
  }
  while (ring->counters().receive_starved < 3) look(*ring);
  for (const auto& receive : receives) ring->cancel(receive->operation);
  ASSERT_TRUE(turn_until(*ring, [&] { return ring->in_flight() == 0; }));
  for (std::size_t i = 0; i < receives.size(); ++i) {
    // Nothing is lost: either it was delivered, or it is still there.
    Recorder again(*ring);
    ring->receive(again.operation, pairs[i].first.get());
    ASSERT_TRUE(
        turn_until(*ring, [&] { return receives[i]->data + again.data == "0123456789abcdef"; }));
    EXPECT_EQ(receives[i]->last, 1);
  }
}

TEST_P(RingReceiveTest, DeliversEverythingThroughACompletionQueueThatOverflows) {
  const auto ring = make({.submission_entries = 8, .completion_entries = 8});
  constexpr int count = 200;
  std::vector<std::pair<TestSocket, TestSocket>> pairs;
  std::vector<std::unique_ptr<Recorder>> receives;
  for (int i = 0; i < count; ++i) {
    pairs.push_back(local_pair());
    receives.push_back(std::make_unique<Recorder>(*ring));
    ring->receive(receives.back()->operation, pairs.back().first.get());
  }
  // The submission queue has 8 entries: it was emptied on the way.
  EXPECT_GT(ring->counters().submission_queue_full, 0U);
  look(*ring);
  for (int round = 0; round < 3; ++round) {
    const std::string text = "round " + std::to_string(round) + ";";
    for (const auto& pair : pairs) pair.second.write(text);
    if (round == 2) {
      for (const auto& pair : pairs) shutdown_send(pair.second.get());
    }
    ASSERT_TRUE(turn_until(*ring, [&] {
      return std::ranges::all_of(receives,
                                 [&](const auto& one) { return one->data.ends_with(text); });
    }));
  }
  ASSERT_TRUE(turn_until(*ring, [&] { return ring->in_flight() == 0; }));
  for (const auto& receive : receives) {
    EXPECT_EQ(receive->data, "round 0;round 1;round 2;");
    EXPECT_EQ(receive->last_result(), 0);
  }
  EXPECT_GT(ring->counters().completion_overflow, 0U);
}

TEST_P(RingReceiveTest, LetsTheLastCallbackReceiveAgainWithTheSameOperation) {
  const auto ring = make();
  auto [near, far] = local_pair();
  struct Owner {
    Ring& ring;
    int descriptor;
    Operation operation{Operation::bind<&Owner::received>(this)};
    std::string data;
    int ends = 0;
    void received(const Completion& completion) {
      data += as_text(completion.bytes);
      if (!completion.last) return;
      if (++ends == 1) ring.receive(operation, descriptor);
    }
  };
  Owner owner{.ring = *ring, .descriptor = near.get(), .data = {}};
  ring->receive(owner.operation, near.get());
  look(*ring);
  ring->cancel(owner.operation);
  ASSERT_TRUE(turn_until(*ring, [&] { return owner.ends == 1; }));
  EXPECT_TRUE(owner.operation.in_flight());
  far.write("second life");
  ASSERT_TRUE(turn_until(*ring, [&] { return owner.data == "second life"; }));
  far.close();
  ASSERT_TRUE(turn_until(*ring, [&] { return owner.ends == 2; }));
}

#ifdef SLUICE_TEST_ASAN
TEST_P(RingReceiveTest, PoisonsBuffersThatAreTheKernels) {
  const auto ring = make();
  auto [near, far] = local_pair();
  const std::uint8_t* memory = nullptr;
  Recorder receive(*ring);
  receive.then = [&](const Completion& completion) {
    if (completion.result <= 0) return;
    memory = completion.bytes.data();
    EXPECT_FALSE(__asan_address_is_poisoned(memory));
    EXPECT_TRUE(__asan_address_is_poisoned(memory + completion.bytes.size() + 8));
  };
  ring->receive(receive.operation, near.get());
  far.write("secret");
  ASSERT_TRUE(turn_until(*ring, [&] { return memory != nullptr; }));
  EXPECT_TRUE(__asan_address_is_poisoned(memory));
}
#endif

}  // namespace
}  // namespace sluice::io
