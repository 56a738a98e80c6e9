// SPDX-License-Identifier: GPL-3.0-or-later
// Files as the running system shows them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "sluice/config/validate.h"

namespace sluice::config {
namespace {

using testing::HasSubstr;

class SystemEnvironmentTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "sluice-config-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    ::unlink((folder_ + "/file").c_str());
    ::rmdir(folder_.c_str());
  }
  std::string make_file(std::size_t bytes) {
    std::ofstream(folder_ + "/file") << std::string(bytes, 'x');
    return folder_ + "/file";
  }
  const Environment environment_ = system_environment();
  std::string folder_;
};

TEST_F(SystemEnvironmentTest, FindsTheMachine) {
  EXPECT_GE(environment_.cpus, 1u);
  EXPECT_GE(environment_.descriptors_max, 3u);
  EXPECT_GT(environment_.now.time_since_epoch(), std::chrono::seconds(1'600'000'000));
}

TEST_F(SystemEnvironmentTest, ReadsAFile) {
  EXPECT_EQ(environment_.read_file(make_file(100'000)), std::string(100'000, 'x'));
}

TEST_F(SystemEnvironmentTest, SaysWhyAFileCannotBeRead) {
  EXPECT_EQ(environment_.read_file(folder_ + "/none").error().context, "No such file or directory");
  EXPECT_EQ(environment_.read_file(folder_).error().context, "Is a directory");
  EXPECT_EQ(environment_.read_file(make_file(2'000'000)).error().context,
            "it is larger than 1 MiB");
}

TEST_F(SystemEnvironmentTest, ListsAFolder) {
  make_file(1);
  EXPECT_THAT(environment_.list_folder(folder_).value(),
              testing::UnorderedElementsAre(".", "..", "file"));
  EXPECT_EQ(environment_.list_folder(folder_ + "/none").error().context,
            "No such file or directory");
  EXPECT_EQ(environment_.list_folder(folder_ + "/file").error().context, "Not a directory");
}

TEST_F(SystemEnvironmentTest, ChecksALogFileWithoutMakingIt) {
  const std::string path = folder_ + "/file";
  EXPECT_TRUE(environment_.may_append(path).has_value());
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
  EXPECT_EQ(environment_.may_append(folder_ + "/none/file").error().context,
            "No such file or directory");
  EXPECT_EQ(environment_.may_append(folder_).error().context, "Is a directory");
}

TEST_F(SystemEnvironmentTest, SeesWhoMayReadAKey) {
  const std::string path = make_file(1);
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  EXPECT_FALSE(environment_.others_may_read(path));
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_TRUE(environment_.others_may_read(path));
}

}  // namespace
}  // namespace sluice::config
