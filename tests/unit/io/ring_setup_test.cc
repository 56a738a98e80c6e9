// SPDX-License-Identifier: GPL-3.0-or-later
// Sizes and flags of rings.
#include "ring_setup.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace sluice::io {
namespace {

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(RingSetupFailureTest, NamesTheRemedyForEveryKnownRefusal) {
  EXPECT_TRUE(contains(explain_setup_failure(ENOSYS, {}), "CONFIG_IO_URING"));
  EXPECT_TRUE(contains(explain_setup_failure(EINVAL, {}), "Linux 6.1"));
  EXPECT_TRUE(contains(explain_setup_failure(EMFILE, {}), "LimitNOFILE"));

  SetupEnvironment off;
  off.io_uring_disabled = 2;
  EXPECT_TRUE(contains(explain_setup_failure(EPERM, off), "kernel.io_uring_disabled is 2"));

  SetupEnvironment privileged;
  privileged.io_uring_disabled = 1;
  privileged.allowed_group = -1;
  EXPECT_TRUE(contains(explain_setup_failure(EPERM, privileged), "names none"));
  privileged.allowed_group = 991;
  EXPECT_TRUE(contains(explain_setup_failure(EPERM, privileged), "now it is 991"));

  SetupEnvironment allowed;
  allowed.io_uring_disabled = 0;
  EXPECT_TRUE(contains(explain_setup_failure(EPERM, allowed), "seccomp"));
  EXPECT_TRUE(contains(explain_setup_failure(EPERM, {}), "seccomp"));

  SetupEnvironment limited;
  limited.locked_bytes = 8192 * 1024;
  EXPECT_TRUE(contains(explain_setup_failure(ENOMEM, limited), "now 8192 KB"));
  EXPECT_TRUE(contains(explain_setup_failure(ENOMEM, {}), "now unlimited"));

  EXPECT_TRUE(contains(explain_setup_failure(EIO, {}), "could not be set up"));
}

class RingSetupTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto set_up = set_up_ring(ring_, {.submission_entries = 8, .completion_entries = 32});
    ASSERT_TRUE(set_up.has_value()) << set_up.error().context;
    facts_ = *set_up;
    initialised_ = true;
    ASSERT_TRUE(enable_ring(ring_, facts_).has_value());
  }

  void TearDown() override {
    if (initialised_) io_uring_queue_exit(&ring_);
  }

  std::int32_t submit_and_take_result() {
    io_uring_submit_and_wait(&ring_, 1);
    io_uring_cqe* completion = nullptr;
    if (io_uring_peek_cqe(&ring_, &completion) != 0) return INT32_MIN;
    const std::int32_t result = completion->res;
    io_uring_cqe_seen(&ring_, completion);
    return result;
  }

  io_uring ring_{};
  RingFacts facts_;
  bool initialised_ = false;
};

TEST_F(RingSetupTest, GivesTheCompletionQueueItsOwnSize) {
  EXPECT_EQ(ring_.sq.ring_entries, 8U);
  EXPECT_EQ(ring_.cq.ring_entries, 32U);
}

TEST_F(RingSetupTest, RefusesOperationsThatSluiceNeverUses) {
  if (!facts_.restricted)
    GTEST_SKIP() << "this kernel takes no restrictions together with our flags";
  io_uring_prep_nop(io_uring_get_sqe(&ring_));
  EXPECT_EQ(submit_and_take_result(), -EACCES);
  io_uring_prep_openat(io_uring_get_sqe(&ring_), AT_FDCWD, "/dev/null", O_RDONLY, 0);
  EXPECT_EQ(submit_and_take_result(), -EACCES);
  // An allowed operation with a flag that is not.
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  io_uring_prep_poll_add(entry, 0, 0);
  entry->flags |= IOSQE_ASYNC;
  EXPECT_EQ(submit_and_take_result(), -EACCES);
}

TEST_F(RingSetupTest, RefusesRegistrationsThatSluiceNeverUses) {
  if (!facts_.restricted)
    GTEST_SKIP() << "this kernel takes no restrictions together with our flags";
  const int descriptor = ::dup(0);
  EXPECT_EQ(io_uring_register_files(&ring_, &descriptor, 1), -EACCES);
  ::close(descriptor);
}

TEST_F(RingSetupTest, LetsAllowedOperationsThrough) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  ASSERT_EQ(::write(ends[1], "x", 1), 1);
  io_uring_prep_poll_add(io_uring_get_sqe(&ring_), ends[0], POLLIN);
  EXPECT_EQ(submit_and_take_result(), POLLIN);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace sluice::io
