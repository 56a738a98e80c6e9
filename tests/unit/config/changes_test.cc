// SPDX-License-Identifier: GPL-3.0-or-later
// What is said of flags that count from the next start on.
#include "sluice/config/changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ChangesTest, NamesEachFlagThatCannotBeTakenOver) {
  Config started;
  started.workers = 2;
  Config now = started;
  EXPECT_THAT(fixed_changes(started, now), IsEmpty());
  now.workers = 4;
  now.listen = {"0.0.0.0:443"};
  EXPECT_THAT(fixed_changes(started, now),
              ElementsAre(HasSubstr("--listen=0.0.0.0:443 cannot be taken over while the process "
                                    "runs, and 0.0.0.0:6443 stays"),
                          HasSubstr("--workers=4 cannot be taken over while the process runs, and "
                                    "2 stays")));
}

TEST(ChangesTest, SaysNothingOfWhatIsTakenOver) {
  const Config started;
  Config now;
  now.drain_timeout = std::chrono::seconds(7);
  now.connections_per_address = 5;
  now.log_level = log::Level::debug;
  now.request_timeout = std::chrono::seconds(99);
  EXPECT_THAT(fixed_changes(started, now), IsEmpty());
}

}  // namespace
}  // namespace sluice::config
