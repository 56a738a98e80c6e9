// SPDX-License-Identifier: GPL-3.0-or-later
// Messages from one thread to another.
#include "sluice/io/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "ring_fixture.h"

namespace sluice::io {
namespace {

class MailboxTest : public testing::Test {
 protected:
  MailboxTest() : ring_(make_ring()), mailbox_(std::move(*Mailbox::create(*ring_))) {}

  ~MailboxTest() override {
    mailbox_->stop();
    while (!mailbox_->stopped()) ring_->turn(std::nullopt);
  }

  // What a reactor does: sleeps only if nothing was posted.
  void turn() {
    if (mailbox_->prepare_to_wait()) {
      ring_->turn(std::nullopt);
      mailbox_->finished_waiting();
    } else {
      look(*ring_);
    }
    mailbox_->run();
  }

  std::unique_ptr<Ring> ring_;
  std::unique_ptr<Mailbox> mailbox_;
};

TEST_F(MailboxTest, RunsMessagesInTheOrderOfPosting) {
  std::vector<int> ran;
  for (int i = 0; i < 5; ++i) mailbox_->post([&ran, i] { ran.push_back(i); });
  EXPECT_TRUE(ran.empty());
  EXPECT_EQ(mailbox_->run(), 5U);
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(mailbox_->run(), 0U);
}

TEST_F(MailboxTest, RunsWhatAMessagePostsAtTheNextCall) {
  int second = 0;
  mailbox_->post([&] { mailbox_->post([&] { ++second; }); });
  EXPECT_EQ(mailbox_->run(), 1U);
  EXPECT_EQ(second, 0);
  EXPECT_FALSE(mailbox_->prepare_to_wait());  // it must not be slept on
  EXPECT_EQ(mailbox_->run(), 1U);
  EXPECT_EQ(second, 1);
}

TEST_F(MailboxTest, CarriesMessagesThatCanOnlyBeMoved) {
  int received = 0;
  mailbox_->post([value = std::make_unique<int>(42), &received] { received = *value; });
  mailbox_->run();
  EXPECT_EQ(received, 42);
}

TEST_F(MailboxTest, WakesOnlyAnOwnerThatSleepsAndOnlyOnce) {
  mailbox_->post([] {});
  mailbox_->post([] {});
  EXPECT_EQ(mailbox_->wakes(), 0U);
  mailbox_->run();

  ASSERT_TRUE(mailbox_->prepare_to_wait());
  mailbox_->post([] {});
  mailbox_->post([] {});
  EXPECT_EQ(mailbox_->wakes(), 1U);
  ring_->turn(std::nullopt);  // ends because of the wake-up
  mailbox_->finished_waiting();
  mailbox_->post([] {});
  EXPECT_EQ(mailbox_->wakes(), 1U);
  EXPECT_EQ(mailbox_->run(), 3U);
}

TEST_F(MailboxTest, DoesNotSleepOnMessages) {
  mailbox_->post([] {});
  EXPECT_FALSE(mailbox_->prepare_to_wait());
  // It is awake again: no wake-up is spent on it.
  mailbox_->post([] {});
  EXPECT_EQ(mailbox_->wakes(), 0U);
  EXPECT_EQ(mailbox_->run(), 2U);
}

TEST_F(MailboxTest, GetsEveryMessageOfManyThreadsInEachThreadsOrder) {
  constexpr int threads = 4;
  constexpr int each = 5000;
  std::vector<int> next(threads, 0);
  int received = 0;
  bool ordered = true;
  std::vector<std::thread> posters;
  for (int t = 0; t < threads; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        mailbox_->post([&, t, i] {
          ordered = ordered && next[static_cast<std::size_t>(t)]++ == i;
          ++received;
        });
        if (i % 64 == 0) std::this_thread::yield();
      }
    });
  }
  // A lost wake-up would leave the owner asleep here for ever.
  while (received < threads * each) turn();
  for (std::thread& poster : posters) poster.join();
  EXPECT_TRUE(ordered);
  EXPECT_LE(mailbox_->wakes(), ring_->counters().turns);
}

TEST_F(MailboxTest, WakesItsOwnerForEachQuestionOfAnotherThread) {
  // Strictly in turns: the asker posts only when the answer has come, so every post meets an owner
  // that sleeps or is about to.
  constexpr int rounds = 2000;
  std::atomic<int> answered{0};
  std::thread asker([&] {
    for (int i = 0; i < rounds; ++i) {
      mailbox_->post([&] { answered.fetch_add(1, std::memory_order_release); });
      while (answered.load(std::memory_order_acquire) <= i) std::this_thread::yield();
    }
  });
  while (answered.load(std::memory_order_relaxed) < rounds) turn();
  asker.join();
  EXPECT_EQ(answered.load(), rounds);
}

TEST_F(MailboxTest, DropsWhatWasNotRunWhenItIsDestroyed) {
  auto alive = std::make_shared<int>(1);
  {
    const auto ring = make_ring();
    const auto mailbox = std::move(*Mailbox::create(*ring));
    mailbox->post([alive] {});
    EXPECT_EQ(alive.use_count(), 2);
    mailbox->stop();
    while (!mailbox->stopped()) ring->turn(std::nullopt);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

}  // namespace
}  // namespace sluice::io
