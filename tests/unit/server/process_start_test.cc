// SPDX-License-Identifier: GPL-3.0-or-later
// What a process is passed by LISTEN_FDS, and by which path it is started again.
#include "sluice/server/process_start.h"

#include <gmock/gmock.h>

#include <map>

namespace sluice::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Variables = std::map<std::string, std::string>;

Result<std::vector<std::string>> passed(const Variables& variables) {
  return passed_descriptors(
      [&](const char* name) -> const char* {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
      },
      77);
}

TEST(PassedDescriptorsTest, ThoseOfThisProcessHaveTheirNames) {
  EXPECT_THAT(*passed({{"LISTEN_FDS", "2"}, {"LISTEN_PID", "77"}, {"LISTEN_FDNAMES", "a:admin"}}),
              ElementsAre("a", "admin"));
  EXPECT_THAT(*passed({{"LISTEN_FDS", "2"}, {"LISTEN_PID", "77"}}), ElementsAre("", ""));
  EXPECT_THAT(*passed({{"LISTEN_FDS", "2"}, {"LISTEN_PID", "77"}, {"LISTEN_FDNAMES", "a"}}),
              ElementsAre("a", ""));
  EXPECT_THAT(*passed({{"LISTEN_FDS", "1"}, {"LISTEN_PID", "77"}, {"LISTEN_FDNAMES", "a:b:c"}}),
              ElementsAre("a"));
}

TEST(PassedDescriptorsTest, WhatIsForAnotherProcessIsNotOurs) {
  for (const Variables& variables :
       {Variables{}, Variables{{"LISTEN_FDS", "1"}}, Variables{{"LISTEN_PID", "77"}},
        Variables{{"LISTEN_FDS", "1"}, {"LISTEN_PID", "78"}},
        Variables{{"LISTEN_FDS", "1"}, {"LISTEN_PID", "77x"}},
        Variables{{"LISTEN_FDS", "nonsense"}, {"LISTEN_PID", "1"}}}) {
    const auto names = passed(variables);
    ASSERT_TRUE(names);
    EXPECT_THAT(*names, IsEmpty());
  }
}

TEST(PassedDescriptorsTest, ANumberThatIsNoneIsAMistake) {
  for (const char* count : {"", "x", "-1", "16385", "99999999999999999999"}) {
    EXPECT_FALSE(passed({{"LISTEN_FDS", count}, {"LISTEN_PID", "77"}})) << count;
  }
}

TEST(ProgramPathTest, IsAsItWasCalledSoThatAReplacedFileIsRun) {
  EXPECT_EQ(program_path("/usr/bin/sluice", "/usr/bin/sluice"), "/usr/bin/sluice");
  EXPECT_EQ(program_path("./sluice", "./sluice"), "./sluice");
  // Started by way of PATH, or under another name.
  EXPECT_EQ(program_path("sluice", "/usr/bin/sluice"), "/usr/bin/sluice");
  EXPECT_EQ(program_path("sluice", "/dev/fd/7"), "sluice");
  EXPECT_EQ(program_path("/usr/bin/sluice", "/dev/fd/7"), "/usr/bin/sluice");
}

}  // namespace
}  // namespace sluice::server
