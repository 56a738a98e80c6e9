// SPDX-License-Identifier: GPL-3.0-or-later
// What several sources say, and whose word counts.
#include "sluice/config/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/config/validate.h"
#include "sluice/tls/context.h"

namespace sluice::config {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class LoadTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(tls::initialize().has_value()); }

  LoadTest() {
    environment_.descriptors_max = 65536;
    environment_.read_file = [this](const std::string& path) -> Result<std::string> {
      if (const auto found = files_.find(path); found != files_.end()) return found->second;
      return fail(ErrorKind::system, "No such file or directory");
    };
  }

  Loaded load(const std::vector<std::string_view>& arguments) const {
    return config::load(parse(std::span<const std::string_view>(arguments)), environment_);
  }
  std::vector<std::string> mistakes(const std::vector<std::string_view>& arguments) const {
    return load(arguments).mistakes;
  }

  std::map<std::string, std::string> files_;
  Environment environment_;
};

TEST_F(LoadTest, WithoutFilesTheCommandLineIsAll) {
  const Loaded loaded = load({"--workers=3", "--backend=10.0.0.1:6443"});
  EXPECT_THAT(loaded.mistakes, IsEmpty());
  EXPECT_EQ(loaded.process.config.workers, 3u);
  ASSERT_THAT(loaded.clusters, SizeIs(1));
  EXPECT_EQ(loaded.clusters[0].name, "");
  EXPECT_EQ(loaded.clusters[0].file, "");
  EXPECT_THAT(loaded.clusters[0].layer.config.backends, ElementsAre("10.0.0.1:6443"));
}

TEST_F(LoadTest, AFileHoldsTheProcessAndTheOneCluster) {
  files_["etc/sluice.conf"] = "workers=3\nbackend=10.0.0.1:6443\ntls-cert-file=tls.crt\n";
  for (const auto& arguments : std::vector<std::vector<std::string_view>>{
           {"--config=etc/sluice.conf"}, {"--config", "etc/sluice.conf"}}) {
    const Loaded loaded = load(arguments);
    EXPECT_THAT(loaded.mistakes, IsEmpty());
    EXPECT_EQ(loaded.process.config.workers, 3u);
    ASSERT_THAT(loaded.clusters, SizeIs(1));
    EXPECT_THAT(loaded.clusters[0].layer.config.backends, ElementsAre("10.0.0.1:6443"));
    EXPECT_EQ(loaded.clusters[0].layer.config.tls_cert_file, "etc/tls.crt");
  }
}

TEST_F(LoadTest, TheCommandLineTakesThePlaceOfTheFile) {
  files_["f"] =
      "workers=3\nlog-level=debug\nbackend=10.0.0.1:6443\nbackend=10.0.0.2:6443\n"
      "client-cert-strict=true\n";
  const Loaded loaded = load({"--workers=5", "--config=f", "--backend=10.0.0.9:6443",
                              "--client-cert-strict=false", "--request-timeout=2m"});
  EXPECT_THAT(loaded.mistakes, IsEmpty());
  const Config& config = loaded.clusters.at(0).layer.config;
  EXPECT_EQ(config.workers, 5u);
  EXPECT_EQ(config.log_level, log::Level::debug);
  EXPECT_THAT(config.backends, ElementsAre("10.0.0.9:6443"));
  EXPECT_FALSE(config.client_cert_strict);
  EXPECT_EQ(config.request_timeout, 2min);
}

TEST_F(LoadTest, AFileThatCannotBeReadIsAMistake) {
  EXPECT_THAT(mistakes({"--config=none"}),
              ElementsAre("--config=\"none\" cannot be read (No such file or directory): write a "
                          "file that this user may read."));
  EXPECT_THAT(mistakes({"--config="}), ElementsAre("--config needs a value: write --config=FILE."));
  files_["f"] = "";
  EXPECT_THAT(mistakes({"--config=f", "--config=f"}),
              ElementsAre("--config is given twice: keep one of them."));
}

TEST_F(LoadTest, MistakesOfBothSourcesAreSaid) {
  files_["f"] = "\nworkers=x\n";
  EXPECT_THAT(mistakes({"--config=f", "--balance=x"}),
              ElementsAre(HasSubstr("--balance=\"x\": "), HasSubstr("f:2: workers=\"x\": ")));
}

TEST_F(LoadTest, WhatIsWrongAboutAValueOfAFileIsSaidBehindItsPlace) {
  files_["etc/f"] =
      "listen=0.0.0.0:6443\n"
      "listen=127.0.0.1:6443\n"
      "backend=10.0.0.1:6443,nonsense\n"
      "tls-cert-file=none.crt\n"
      "probe-timeout=1m\n"
      "receive-buffers=100\n"
      "exempt-clients=10.0.0.1/8\n"
      "requestheader-uid-headers=X-Uid\n"
      "requestheader-uid-headers=Host\n";
  const Validation result =
      validate(load({"--config=etc/f", "--drain-timeout-tunnels=x"}), environment_);
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("etc/f:2: --listen=\"127.0.0.1:6443\" over")));
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("etc/f:3: --backend=\"nonsense\": names")));
  EXPECT_THAT(result.mistakes,
              Contains(HasSubstr("etc/f:4: --tls-cert-file=\"etc/none.crt\" cannot be read")));
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("etc/f:5: --probe-timeout=1m is longer")));
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("etc/f:6: --receive-buffers=100 is no power")));
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("etc/f:7: --exempt-clients: \"10.0.0.1/8\"")));
  EXPECT_THAT(result.mistakes,
              Contains(HasSubstr("etc/f:9: --requestheader-uid-headers=\"Host\" is a field")));
  // What stands in no file has no place.
  EXPECT_THAT(result.mistakes, Contains(testing::StartsWith("--drain-timeout-tunnels=\"x\"")));
  EXPECT_THAT(result.mistakes, Contains(testing::StartsWith("--backend-ca-file is missing")));
}

}  // namespace
}  // namespace sluice::config
