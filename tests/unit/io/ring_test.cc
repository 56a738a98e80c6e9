// SPDX-License-Identifier: GPL-3.0-or-later
// Accepting, sending, connecting and polling through the kernel's ring, and completions that come
// too late.
#include "sluice/io/ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/resource.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "ring_fixture.h"
#include "user_data.h"

namespace sluice::io {
namespace {

using std::chrono::milliseconds;

// --- turns
// -----------------------------------------------------------------------------------------

TEST(RingTest, ReturnsFromATurnAtTheDeadlineAndNotBefore) {
  const auto ring = make_ring();
  const Instant deadline = ring->now() + milliseconds(3);
  while (ring->now() < deadline) {
    const std::uint64_t turns = ring->counters().turns;
    ring->turn(deadline);
    ASSERT_LT(turns, 20U);  // it waits instead of looking again and again
  }
  EXPECT_GE(ring->now(), deadline);
}

TEST(RingTest, OnlyLooksWhenTheDeadlineHasPassed) {
  const auto ring = make_ring();
  ring->turn(ring->now());
  ring->turn(Instant::min());
  EXPECT_EQ(ring->counters().turns, 2U);
  EXPECT_EQ(ring->in_flight(), 0U);
}

TEST(RingTest, ReadsItsClocksOnceATurn) {
  const auto ring = make_ring();
  const Instant before = ring->now();
  EXPECT_EQ(ring->now(), before);
  ring->turn(before + milliseconds(2));
  EXPECT_GE(ring->now(), before + milliseconds(2));
  EXPECT_GT(ring->wall_now().time_since_epoch().count(), 1'700'000'000);
  EXPECT_EQ(std::chrono::floor<std::chrono::seconds>(ring->wall_now_exactly()), ring->wall_now());
  // One moment for the whole turn, and another clock for who measures within it.
  const Instant turn = ring->now();
  const Instant begun = ring->clock();
  EXPECT_GE(begun, turn);
  while (ring->clock() == begun) {
  }
  EXPECT_EQ(ring->now(), turn);
}

TEST(RingTest, GathersACallbacksSubmissionsForTheNextTurn) {
  const auto ring = make_ring();
  auto [near, far] = local_pair();
  Recorder receive(*ring);
  Recorder send(*ring);
  bool in_callback = false;
  receive.then = [&](const Completion&) {
    in_callback = true;
    if (!send.operation.in_flight() && send.results.empty()) {
      ring->send(send.operation, near.get(), as_bytes("answer"));
    }
    in_callback = false;
  };
  send.then = [&](const Completion&) { EXPECT_FALSE(in_callback); };
  ring->receive(receive.operation, near.get());
  far.write("question");
  ASSERT_TRUE(turn_until(*ring, [&] { return send.ended(); }));
  EXPECT_EQ(send.last_result(), 6);
}

// --- accept
// ----------------------------------------------------------------------------------------

TEST(RingAcceptTest, HandsOutManyDescriptorsThatDoNotBlockAndCloseOnExec) {
  const auto ring = make_ring();
  const TestListener listener;
  Recorder accept(*ring);
  ring->accept(accept.operation, listener.socket.get());
  std::vector<TestSocket> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(listener.connect());
  ASSERT_TRUE(turn_until(*ring, [&] { return accept.results.size() == 20; }));
  EXPECT_TRUE(accept.operation.in_flight());
  for (const int descriptor : accept.results) {
    EXPECT_NE(::fcntl(descriptor, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
    close_socket(descriptor);
  }
}

TEST(RingAcceptTest, AcceptsNothingAfterCancelAndAgainWhenAsked) {
  const auto ring = make_ring();
  const TestListener listener;
  Recorder first(*ring);
  ring->accept(first.operation, listener.socket.get());
  look(*ring);
  ring->cancel(first.operation);
  ASSERT_TRUE(turn_until(*ring, [&] { return first.ended(); }));
  EXPECT_EQ(first.last_result(), -ECANCELED);

  const TestSocket client = listener.connect();
  look(*ring);
  EXPECT_EQ(first.results.size(), 1U);
  Recorder second(*ring);
  ring->accept(second.operation, listener.socket.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return second.results.size() == 1; }));
  ASSERT_GE(second.results[0], 0);
  close_socket(second.results[0]);
}

TEST(RingAcceptTest, EndsWhenDescriptorsRunOutAndKeepsTheClientWaiting) {
  const auto ring = make_ring();
  const TestListener listener;
  const TestSocket client = listener.connect();

  // No descriptor above those that are open.
  const int next_free = ::dup(0);
  ::close(next_free);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(next_free);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  Recorder starved(*ring);
  ring->accept(starved.operation, listener.socket.get());
  const bool ended = turn_until(*ring, [&] { return starved.ended(); });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(ended);
  EXPECT_EQ(starved.results, std::vector<std::int32_t>{-EMFILE});

  Recorder again(*ring);
  ring->accept(again.operation, listener.socket.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return !again.results.empty(); }));
  ASSERT_GE(again.results[0], 0);
  TestSocket accepted(again.results[0]);
  client.write("hello");
  Recorder receive(*ring);
  ring->receive(receive.operation, accepted.get());
  EXPECT_TRUE(turn_until(*ring, [&] { return receive.data == "hello"; }));
}

TEST(RingAcceptTest, GoesOnThroughACompletionQueueThatOverflows) {
  const auto ring = make_ring({.submission_entries = 4, .completion_entries = 4});
  const TestListener listener;
  Recorder accept(*ring);
  ring->accept(accept.operation, listener.socket.get());
  look(*ring);
  std::vector<TestSocket> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(listener.connect());
  ASSERT_TRUE(turn_until(*ring, [&] { return accept.results.size() == clients.size(); }));
  EXPECT_FALSE(accept.ended());
  for (const int descriptor : accept.results) close_socket(descriptor);
}

// --- send
// ------------------------------------------------------------------------------------------

TEST(RingSendTest, FinishesShortSendsByItself) {
  const auto ring = make_ring();
  const TestListener listener;
  auto [near, far] = listener.pair();
  // Far more than the sockets hold.
  std::string text(8 << 20, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 >> 8);
  Recorder send(*ring);
  Recorder receive(*ring);
  ring->send(send.operation, near.get(), as_bytes(text));
  look(*ring);
  EXPECT_FALSE(send.ended());
  ring->receive(receive.operation, far.get());
  ASSERT_TRUE(turn_until(*ring, [&] { return receive.data.size() == text.size(); }));
  ASSERT_TRUE(turn_until(*ring, [&] { return send.ended(); }));
  EXPECT_EQ(send.results, std::vector<std::int32_t>{static_cast<std::int32_t>(text.size())});
  EXPECT_TRUE(receive.data == text);
}

TEST(RingSendTest, IsEndedByCancelWhenThePeerDoesNotRead) {
  const auto ring = make_ring();
  const TestListener listener;
  auto [near, far] = listener.pair();
  const std::string text(8 << 20, 'x');
  Recorder send(*ring);
  ring->send(send.operation, near.get(), as_bytes(text));
  look(*ring);
  ring->cancel(send.operation);
  ASSERT_TRUE(turn_until(*ring, [&] { return send.ended(); }));
  EXPECT_LT(send.last_result(), static_cast<std::int32_t>(text.size()));
  EXPECT_TRUE(send.last_result() == -ECANCELED || send.last_result() > 0) << send.last_result();
}

TEST(RingSendTest, ReportsAConnectionThatIsGoneInsteadOfASignal) {
  const auto ring = make_ring();
  auto [near, far] = local_pair();
  far.close();
  Recorder send(*ring);
  ring->send(send.operation, near.get(), as_bytes("anybody?"));
  ASSERT_TRUE(turn_until(*ring, [&] { return send.ended(); }));
  EXPECT_EQ(send.last_result(), -EPIPE);
}

TEST(RingSendTest, ReportsAResetWhileItIsUnderWay) {
  const auto ring = make_ring();
  const TestListener listener;
  auto [near, far] = listener.pair();
  const std::string text(8 << 20, 'x');
  Recorder send(*ring);
  ring->send(send.operation, near.get(), as_bytes(text));
  look(*ring);
  ASSERT_FALSE(send.ended());
  reset_on_close(far.get());
  far.close();
  ASSERT_TRUE(turn_until(*ring, [&] { return send.ended(); }));
  EXPECT_LT(send.last_result(), static_cast<std::int32_t>(text.size()));
}

TEST(RingSendTest, SubmitsMoreThanTheQueueHoldsInOrder) {
  const auto ring = make_ring({.submission_entries = 4, .completion_entries = 64});
  constexpr int count = 100;
  std::vector<std::pair<TestSocket, TestSocket>> pairs;
  std::vector<std::unique_ptr<Recorder>> sends;
  for (int i = 0; i < count; ++i) {
    pairs.push_back(local_pair());
    sends.push_back(std::make_unique<Recorder>(*ring));
    ring->send(sends.back()->operation, pairs.back().first.get(), as_bytes("x"));
  }
  EXPECT_EQ(ring->in_flight(), static_cast<std::size_t>(count));
  ASSERT_TRUE(turn_until(*ring, [&] { return ring->in_flight() == 0; }));
  for (const auto& send : sends) EXPECT_EQ(send->results, std::vector<std::int32_t>{1});
  EXPECT_GE(ring->counters().submission_queue_full, 24U);
}

// --- connect
// ---------------------------------------------------------------------------------------

TEST(RingConnectTest, ConnectsToAnAddressThatIsGoneAfterTheCall) {
  const auto ring = make_ring();
  const TestListener listener;
  const TestSocket client(*open_stream(AF_INET));
  Recorder connect(*ring);
  {
    auto address = std::make_unique<Address>(listener.address);
    ring->connect(connect.operation, client.get(), *address);
    *address = Address();
  }
  ASSERT_TRUE(turn_until(*ring, [&] { return connect.ended(); }));
  EXPECT_EQ(connect.last_result(), 0);
  EXPECT_EQ(*peer_address(client.get()), listener.address);
}

TEST(RingConnectTest, ReportsARefusal) {
  const auto ring = make_ring();
  Address closed_port;
  {
    const TestListener listener;
    closed_port = listener.address;
  }
  const TestSocket client(*open_stream(AF_INET));
  Recorder connect(*ring);
  ring->connect(connect.operation, client.get(), closed_port);
  ASSERT_TRUE(turn_until(*ring, [&] { return connect.ended(); }));
  EXPECT_EQ(connect.last_result(), -ECONNREFUSED);
}

TEST(RingConnectTest, IsEndedByCancelWhileThePeerDoesNotAnswer) {
  const auto ring = make_ring();
  // A full backlog drops further connection requests silently.
  const TestListener listener(0);
  std::vector<TestSocket> fill;
  fill.push_back(listener.connect());
  fill.push_back(listener.connect());
  const TestSocket client(*open_stream(AF_INET));
  Recorder connect(*ring);
  ring->connect(connect.operation, client.get(), listener.address);
  look(*ring);
  ASSERT_FALSE(connect.ended());
  ring->cancel(connect.operation);
  ASSERT_TRUE(turn_until(*ring, [&] { return connect.ended(); }));
  EXPECT_EQ(connect.last_result(), -ECANCELED);
}

// --- poll
// ------------------------------------------------------------------------------------------

TEST(RingPollTest, CompletesEachTimeTheDescriptorBecomesReadable) {
  const auto ring = make_ring();
  const TestSocket wake(*open_wake_descriptor());
  Recorder poll(*ring);
  ring->poll_readable(poll.operation, wake.get());
  for (std::size_t i = 1; i <= 5; ++i) {
    signal_wake(wake.get());
    ASSERT_TRUE(turn_until(*ring, [&] { return poll.results.size() == i; }));
    EXPECT_GE(poll.results.back(), 0);
    EXPECT_TRUE(poll.operation.in_flight());
    drain_wake(wake.get());
    look(*ring);
    EXPECT_EQ(poll.results.size(), i);
  }
  ring->cancel(poll.operation);
  ASSERT_TRUE(turn_until(*ring, [&] { return poll.ended(); }));
  EXPECT_EQ(poll.last_result(), -ECANCELED);
}

TEST(RingPollTest, CompletesForADescriptorThatIsReadableAlready) {
  const auto ring = make_ring();
  const TestSocket wake(*open_wake_descriptor());
  signal_wake(wake.get());
  Recorder poll(*ring);
  ring->poll_readable(poll.operation, wake.get());
  EXPECT_TRUE(turn_until(*ring, [&] { return poll.results.size() == 1; }));
}

// --- completions that come too late
// -----------------------------------------------------------------

// The ring's descriptor, so that a second ring can post completions of its choice into it.
int ring_descriptor() {
  int found = -1;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(entry.path(), error);
    if (!error && target == "anon_inode:[io_uring]") found = std::stoi(entry.path().filename());
  }
  return found;
}

class Forger {
 public:
  explicit Forger(int target) : target_(target) { CHECK_EQ(io_uring_queue_init(8, &ring_, 0), 0); }
  ~Forger() { io_uring_queue_exit(&ring_); }

  // False when this kernel refuses to do it.
  bool post(UserData id, std::int32_t result) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    io_uring_prep_msg_ring(entry, target_, static_cast<unsigned>(result), id.packed(), 0);
    CHECK_EQ(io_uring_submit_and_wait(&ring_, 1), 1);
    io_uring_cqe* completion = nullptr;
    CHECK_EQ(io_uring_peek_cqe(&ring_, &completion), 0);
    const bool posted = completion->res == 0;
    io_uring_cqe_seen(&ring_, completion);
    return posted;
  }

 private:
  io_uring ring_{};
  int target_;
};

TEST(RingLateCompletionTest, FindsNobodyAfterItsSlotHasANewOperation) {
  const auto ring = make_ring();
  Forger forger(ring_descriptor());
  auto [near, far] = local_pair();
  {
    Recorder first(*ring);  // slot 0, generation 1
    ring->receive(first.operation, near.get());
  }
  Recorder second(*ring);  // slot 0, generation 2
  ring->receive(second.operation, near.get());
  look(*ring);
  if (!forger.post({0, 1, OperationKind::receive}, 0)) GTEST_SKIP() << "no messages between rings";
  ASSERT_TRUE(turn_until(*ring, [&] { return ring->counters().stale_completions == 1; }));
  EXPECT_TRUE(second.results.empty());
  EXPECT_TRUE(second.operation.in_flight());
  far.write("for the second");
  ASSERT_TRUE(turn_until(*ring, [&] { return second.data == "for the second"; }));

  // The present generation does find it: the forged end of stream is believed.
  ASSERT_TRUE(forger.post({0, 2, OperationKind::send}, 3));  // but not as another kind
  ASSERT_TRUE(turn_until(*ring, [&] { return ring->counters().stale_completions == 2; }));
  EXPECT_TRUE(second.operation.in_flight());
}

TEST(RingLateCompletionTest, ClosesADescriptorThatWasAcceptedForNobody) {
  const auto ring = make_ring();
  Forger forger(ring_descriptor());
  auto [near, far] = local_pair();
  const int orphan = ::dup(near.get());
  near.close();
  if (!forger.post({7, 9, OperationKind::accept}, orphan))
    GTEST_SKIP() << "no messages between rings";
  ASSERT_TRUE(turn_until(*ring, [&] { return ring->counters().stale_completions == 1; }));
  EXPECT_EQ(::fcntl(orphan, F_GETFD), -1);
  EXPECT_EQ(errno, EBADF);
  // The other side sees the connection end.
  char byte = 0;
  EXPECT_EQ(::recv(far.get(), &byte, 1, MSG_DONTWAIT), 0);
}

TEST(RingLateCompletionTest, IgnoresAnswersToOldRequestsToCancel) {
  const auto ring = make_ring();
  Forger forger(ring_descriptor());
  auto [near, far] = local_pair();
  Recorder receive(*ring);  // slot 0, generation 1
  ring->receive(receive.operation, near.get());
  look(*ring);
  if (!forger.post({0, 1, OperationKind::cancel}, -ENOENT))
    GTEST_SKIP() << "no messages between rings";
  ASSERT_TRUE(forger.post({0, 99, OperationKind::cancel}, -ENOENT));
  ASSERT_TRUE(forger.post({1000, 1, OperationKind::cancel}, -ENOENT));
  const std::uint64_t before = ring->counters().completions;
  ASSERT_TRUE(turn_until(*ring, [&] { return ring->counters().completions >= before + 3; }));
  far.write("alive");
  EXPECT_TRUE(turn_until(*ring, [&] { return receive.data == "alive"; }));
}

TEST(RingLateCompletionTest, AreImpossibleHoweverCancelAndCompletionRace) {
  const auto ring = make_ring({.submission_entries = 16, .completion_entries = 64});
  const TestListener listener;
  for (int i = 0; i < 300; ++i) {
    auto [near, far] = local_pair();
    auto [accepted, client] = listener.pair();
    Recorder receive(*ring);
    Recorder send(*ring);
    Recorder accept(*ring);
    Recorder poll(*ring);
    ring->receive(receive.operation, near.get());
    ring->poll_readable(poll.operation, accepted.get());
    ring->accept(accept.operation, listener.socket.get());
    if (i % 3 == 0) look(*ring);
    ring->send(send.operation, far.get(), as_bytes("data"));
    client.write("x");
    const TestSocket late = listener.connect();
    if (i % 3 == 1) look(*ring);
    ring->cancel(receive.operation);
    ring->cancel(send.operation);
    ring->cancel(accept.operation);
    ring->cancel(poll.operation);
    ASSERT_TRUE(turn_until(*ring, [&] { return ring->in_flight() == 0; }));
    for (const int descriptor : accept.results) {
      if (descriptor >= 0) close_socket(descriptor);
    }
    // What the accept has left is not lost.
    for (int left = 0; (left = accept_now(listener.socket.get())) >= 0;) close_socket(left);
  }
  EXPECT_EQ(ring->counters().stale_completions, 0U);
}

}  // namespace
}  // namespace sluice::io
