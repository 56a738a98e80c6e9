// SPDX-License-Identifier: GPL-3.0-or-later
// One reading is of one moment, and it is seen when something is another than then.
#include "sluice/config/read_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace sluice::config {
namespace {

using testing::UnorderedElementsAre;

class ReadFilesTest : public testing::Test {
 protected:
  ReadFilesTest() {
    below_.read_file = [this](const std::string& path) -> Result<std::string> {
      if (before_read_) before_read_(path);
      const auto found = files_.find(resolve(path));
      if (found == files_.end()) return fail(ErrorKind::system, "No such file or directory");
      return found->second;
    };
    below_.list_folder = [](const std::string&) -> Result<std::vector<std::string>> {
      return std::vector<std::string>{"a.conf"};
    };
    below_.read_link = [this](const std::string& path) -> Result<std::string> {
      const auto found = links_.find(path);
      if (found == links_.end()) return fail(ErrorKind::system, "Invalid argument");
      return found->second;
    };
    below_.stamp = [this](const std::string& path) { return stamps_[path]; };
    mount("1");
  }

  // A Secret, as a kubelet does it.
  void mount(const std::string& generation) {
    files_.clear();
    for (const std::string name : {"tls.crt", "tls.key"}) {
      links_["m/" + name] = "..data/" + name;
      files_["m/.." + generation + "/" + name] = name + " " + generation;
    }
    links_["m/..data"] = ".." + generation;
  }
  std::string resolve(const std::string& path) const {
    const auto link = links_.find(path);
    if (link == links_.end()) return path;
    std::string target = "m/" + link->second;
    const std::string data = "m/..data/";
    if (target.starts_with(data)) {
      target = "m/" + links_.at("m/..data") + "/" + target.substr(data.size());
    }
    return target;
  }

  Environment below_;
  std::map<std::string, std::string> files_, links_, stamps_;
  std::function<void(const std::string&)> before_read_;
};

TEST_F(ReadFilesTest, FilesOfAMountAreReadFromOneGeneration) {
  ReadFiles files(below_);
  const Environment environment = files.environment();
  EXPECT_EQ(environment.read_file("m/tls.crt"), "tls.crt 1");
  // The next one comes between the two, and the old one is there for a moment.
  const auto old = files_;
  mount("2");
  files_.insert(old.begin(), old.end());
  EXPECT_EQ(environment.read_file("m/tls.key"), "tls.key 1");
  EXPECT_FALSE(files.torn());
  ReadFiles later(below_);
  EXPECT_EQ(later.environment().read_file("m/tls.key"), "tls.key 2");
}

TEST_F(ReadFilesTest, AGenerationThatGoesMeanwhileIsSaid) {
  ReadFiles files(below_);
  const Environment environment = files.environment();
  EXPECT_EQ(environment.read_file("m/tls.crt"), "tls.crt 1");
  mount("2");
  EXPECT_EQ(environment.read_file("m/tls.key"), "tls.key 2");
  EXPECT_TRUE(files.torn());
}

TEST_F(ReadFilesTest, OtherFilesAndLinksAreReadWhereTheyAre) {
  files_["etc/a"] = "a";
  links_["etc/b"] = "/srv/b";
  ReadFiles files(below_);
  const Environment environment = files.environment();
  EXPECT_EQ(environment.read_file("etc/a"), "a");
  EXPECT_FALSE(environment.read_file("etc/b"));
  EXPECT_FALSE(environment.read_file("etc/none"));
  EXPECT_FALSE(files.torn());
}

TEST_F(ReadFilesTest, SeesWhatIsAnotherNow) {
  stamps_ = {{"m/tls.crt", "1"}, {"clusters", "1"}};
  ReadFiles files(below_);
  const Environment environment = files.environment();
  (void)environment.read_file("m/tls.crt");
  (void)environment.read_file("m/none");
  (void)environment.list_folder("clusters");
  EXPECT_TRUE(files.unchanged());
  for (const std::string path : {"m/tls.crt", "clusters", "m/none"}) {
    const std::string before = std::exchange(stamps_[path], "2");
    EXPECT_FALSE(files.unchanged()) << path;
    stamps_[path] = before;
    EXPECT_TRUE(files.unchanged());
  }
  stamps_["elsewhere"] = "2";
  EXPECT_TRUE(files.unchanged());
}

TEST_F(ReadFilesTest, KnowsTheFoldersWhoseChangesMayMatter) {
  links_["etc/b"] = "/srv/b/file";
  ReadFiles files(below_);
  const Environment environment = files.environment();
  (void)environment.read_file("m/tls.crt");
  (void)environment.read_file("etc/b");
  (void)environment.read_file("here");
  (void)environment.read_file("/root");
  (void)environment.list_folder("clusters");
  EXPECT_THAT(files.folders(), UnorderedElementsAre("m", "etc", "/srv/b", ".", "/", "clusters"));
}

}  // namespace
}  // namespace sluice::config
