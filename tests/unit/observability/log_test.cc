// SPDX-License-Identifier: GPL-3.0-or-later
// Lines as they leave the process.
#include "sluice/observability/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "pipe.h"

namespace sluice::log {
namespace {

using observability::Pipe;
using testing::EndsWith;
using testing::HasSubstr;

// Each test has the log for itself, on a pipe.
class LogTest : public testing::Test {
 protected:
  void start_log(Options options = {}) {
    options.descriptor = pipe_.write_end();
    if (!options.journal) options.journal = true;  // no time: lines can be compared
    start(options);
    started_ = true;
  }
  std::vector<std::string> lines() {
    stop();
    started_ = false;
    return pipe_.read_lines();
  }
  void TearDown() override {
    if (started_) stop();
  }
  Pipe pipe_;
  bool started_ = false;
};

TEST_F(LogTest, WritesKeysAndValues) {
  start_log();
  const std::string address = "127.0.0.1:6443";
  info("backend is ready", {{"backend", address},
                            {"tries", 3},
                            {"bytes", std::uint64_t{1} << 40},
                            {"share", 0.25},
                            {"watch", true},
                            {"took", Duration(std::chrono::milliseconds(1500))},
                            {"literal", "two words"},
                            {"view", std::string_view("x")}});
  EXPECT_THAT(lines(), testing::ElementsAre(
                           "<6>level=info msg=\"backend is ready\" backend=127.0.0.1:6443 tries=3 "
                           "bytes=1099511627776 share=0.25 watch=true took=1.5s "
                           "literal=\"two words\" view=x"));
}

TEST_F(LogTest, WritesTheTimeWhenTheJournalDoesNot) {
  start_log({.journal = false});
  warning("late");
  const auto all = lines();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_TRUE(std::regex_match(
      all[0], std::regex(R"(time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=warning msg=late)")))
      << all[0];
}

TEST_F(LogTest, GivesEachLevelItsPriority) {
  start_log({.level = Level::debug});
  error("e");
  warning("w");
  info("i");
  debug("d");
  EXPECT_THAT(lines(), testing::ElementsAre("<3>level=error msg=e", "<4>level=warning msg=w",
                                            "<6>level=info msg=i", "<7>level=debug msg=d"));
}

TEST_F(LogTest, WritesNothingAboveItsLevel) {
  start_log({.level = Level::warning});
  EXPECT_TRUE(enabled(Level::error));
  EXPECT_TRUE(enabled(Level::warning));
  EXPECT_FALSE(enabled(Level::info));
  info("not this");
  set_level(Level::info);
  info("but this");
  EXPECT_THAT(lines(), testing::ElementsAre(EndsWith("msg=\"but this\"")));
}

TEST_F(LogTest, APeersTextCannotBeginALineOrAKey) {
  start_log();
  const std::string forged = "x\r\n<0>level=error msg=\"all is lost\" admin=true";
  warning("refused", {{"path", forged}, {"user", "eve\" admin=\"true"}});
  const auto all = lines();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0],
            "<4>level=warning msg=refused path=\"x\\r\\n<0>level=error msg=\\\"all is lost\\\" "
            "admin=true\" user=\"eve\\\" admin=\\\"true\"");
}

TEST_F(LogTest, BoundsALine) {
  start_log();
  const std::string huge(100000, 'a');
  info(huge, {{"first", huge}, {"second", huge}, {"third", huge}, {"fourth", huge}, {"last", 1}});
  const auto all = lines();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_LE(all[0].size(), 1100u);
  EXPECT_THAT(all[0], HasSubstr("last=1"));
  EXPECT_THAT(all[0], EndsWith("fields_left_out=3"));
}

TEST_F(LogTest, LimitsACallSiteAndTellsWhatItSuppressed) {
  start_log({.lines_per_second = 5});
  const std::uint64_t before = counters().suppressed;
  for (int i = 0; i < 10000; ++i) info("flood", {{"i", i}});
  info("another place");
  const std::uint64_t suppressed = counters().suppressed - before;
  const auto all = lines();
  // A second may have passed in the loop, hardly more than a few.
  EXPECT_GE(all.size(), 6u);
  EXPECT_LE(all.size(), 200u);
  EXPECT_THAT(all, testing::Contains(HasSubstr("another place")));
  EXPECT_EQ(all.size() - 1 + suppressed, 10000u);
}

TEST_F(LogTest, LosesNoLineOfManyThreads) {
  start_log({.lines_per_second = 1000000});
  const std::uint64_t before = counters().written;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 100; ++i) info("from a thread", {{"t", t}, {"i", i}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counters().written - before, 400u);
  const auto all = lines();
  EXPECT_EQ(all.size(), 400u);
  for (const std::string& line : all) EXPECT_THAT(line, HasSubstr("msg=\"from a thread\" t="));
}

TEST(LogLevelTest, NamesItsLevels) {
  for (const Level level : {Level::error, Level::warning, Level::info, Level::debug}) {
    EXPECT_EQ(level_from(to_string(level)), level);
  }
  EXPECT_EQ(level_from("verbose"), std::nullopt);
}

}  // namespace
}  // namespace sluice::log
