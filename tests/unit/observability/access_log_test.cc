// SPDX-License-Identifier: GPL-3.0-or-later
// Records as JSON lines, and secrets that must not be in them.
#include "sluice/observability/access_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace sluice::observability {
namespace {

using testing::HasSubstr;
using testing::Not;

AccessRecord example() {
  return {
      .time = std::chrono::system_clock::time_point(std::chrono::milliseconds(1767323045678)),
      .client = "10.0.0.9:51234",
      .user = "alice",
      .method = "GET",
      .path = "/api/v1/namespaces/web/pods?watch=true",
      .verb = "watch",
      .resource = "pods",
      .namespace_name = "web",
      .status = 200,
      .backend = "10.0.0.1:6443",
      .tries = 1,
      .bytes_in = 0,
      .bytes_out = 123456,
      .duration = std::chrono::microseconds(1234567),
      .ended_by = EndedBy::backend_lost,
      .watch = true,
  };
}

std::string json(const AccessRecord& record) {
  std::string line;
  append_json(line, record);
  return line;
}

TEST(AccessLogTest, WritesARecordAsOneLine) {
  EXPECT_EQ(
      json(example()),
      R"({"time":"2026-01-02T03:04:05.678Z","client":"10.0.0.9:51234","user":"alice",)"
      R"("method":"GET","path":"/api/v1/namespaces/web/pods?watch=true","verb":"watch",)"
      R"("resource":"pods","namespace":"web","status":200,"backend":"10.0.0.1:6443","tries":1,)"
      R"("bytes_in":0,"bytes_out":123456,"duration_ms":1234.567,"ended_by":"backend_lost",)"
      R"("watch":true})"
      "\n");
}

TEST(AccessLogTest, NamesTheClusterWhereItHasAName) {
  AccessRecord record = example();
  record.cluster = "one";
  EXPECT_THAT(json(record), HasSubstr(R"(Z","cluster":"one","client":"10.0.0.9:51234",)"));
}

TEST(AccessLogTest, NamesTheReasonOfALocalReply) {
  AccessRecord record = example();
  record.ended_by = EndedBy::local_reply;
  record.reason = "no_ready_backend";
  record.status = 503;
  EXPECT_THAT(json(record), HasSubstr(R"("ended_by":"local_reply","reason":"no_ready_backend")"));
}

TEST(AccessLogTest, AClientsTextCannotLeaveItsString) {
  AccessRecord record = example();
  record.user = "eve\",\"user\":\"admin";
  record.path = "/x\n{\"time\":0}";
  record.user_agent = "\xff\x01";
  const std::string line = json(record);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_THAT(line, HasSubstr(R"("user":"eve\",\"user\":\"admin")"));
  EXPECT_THAT(line, HasSubstr(R"("path":"/x\u000a{\"time\":0}")"));
  EXPECT_THAT(line, HasSubstr(R"("user_agent":"\ufffd\u0001")"));
}

TEST(AccessLogTest, BoundsARecord) {
  AccessRecord record = example();
  const std::string huge(1 << 20, 'a');
  record.path = record.user = record.user_agent = record.name = record.client = huge;
  EXPECT_LT(json(record).size(), 6000u);
}

struct Redaction {
  std::string_view path;
  std::string_view shown;
};

class RedactionTest : public testing::TestWithParam<Redaction> {};

TEST_P(RedactionTest, ShowsOnlyWhatIsHarmless) {
  EXPECT_EQ(redact_path(GetParam().path), GetParam().shown);
}

constexpr std::string_view token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";

INSTANTIATE_TEST_SUITE_P(
    Table, RedactionTest,
    testing::Values(
        Redaction{"", ""}, Redaction{"/", "/"}, Redaction{"/api/v1/pods?", "/api/v1/pods?"},
        Redaction{"/api/v1/pods?limit=500&watch=1", "/api/v1/pods?limit=500&watch=1"},
        Redaction{"/api/v1/pods?labelSelector=app%3Dx", "/api/v1/pods?labelSelector=app%3Dx"},
        Redaction{"/a?token=s3cret", "/a?token=[redacted]"},
        Redaction{"/a?access_token=s3cret&limit=1", "/a?access_token=[redacted]&limit=1"},
        Redaction{"/a?limit=1;token=s3cret", "/a?limit=1;token=[redacted]"},
        Redaction{"/a?%74oken=s3cret", "/a?%74oken=[redacted]"},
        Redaction{"/a?TOKEN=s3cret", "/a?TOKEN=[redacted]"},
        Redaction{"/a?command=sh&command=--password%3Dx",
                  "/a?command=[redacted]&command=[redacted]"},
        Redaction{"/a?token=a=b&x", "/a?token=[redacted]&x"}, Redaction{"/a?token=", "/a?token="},
        Redaction{"/a?limit=1?token=x", "/a?limit=1?token=[redacted]"},
        Redaction{"/a?0123456789abcdef0123456789abcdef", "/a?[redacted]"},
        Redaction{"/a/eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln/b", "/a/[redacted]/b"},
        Redaction{"/a?watch=eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "/a?watch=[redacted]"},
        Redaction{"/a?eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln=1", "/a?[redacted]=[redacted]"},
        Redaction{"/heyJude", "/heyJude"}));

TEST(AccessLogTest, NeverWritesATokenWhereverItStands) {
  const std::string t(token);
  for (const std::string& path :
       {"/a?token=" + t, "/a?x=1&id_token=" + t, "/proxy/" + t, "/a?" + t, "/a?limit=" + t,
        "/a?fieldSelector=%22" + t + "%22", "/a/b%2F" + t + "?x=" + t, t, "?" + t + "=" + t}) {
    AccessRecord record = example();
    record.path = path;
    EXPECT_THAT(json(record), Not(HasSubstr("c2ln"))) << path;
    EXPECT_THAT(json(record), Not(HasSubstr("eyJ"))) << path;
  }
}

class AccessLogFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "sluice-access-log-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = folder_ + "/access.log";
  }
  void TearDown() override {
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
  }
  std::vector<std::string> lines() const {
    std::ifstream file(path_);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
  std::string folder_;
  std::string path_;
};

TEST_F(AccessLogFileTest, AppendsToAFileThatOnlyItsOwnersRead) {
  for (int run = 0; run < 2; ++run) {
    const auto log = AccessLog::open({.path = path_, .workers = 2});
    ASSERT_TRUE(log.has_value());
    for (std::size_t worker = 0; worker < 2; ++worker) (*log)->write(worker, example());
    EXPECT_EQ((*log)->written(), 2u);
  }
  const auto all = lines();
  ASSERT_EQ(all.size(), 4u);
  for (const std::string& line : all) EXPECT_EQ(line + "\n", json(example()));
  struct stat status{};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0007, 0u);
}

TEST_F(AccessLogFileTest, SaysWhichFileCannotBeOpened) {
  const auto log = AccessLog::open({.path = folder_ + "/missing/access.log"});
  ASSERT_FALSE(log.has_value());
  EXPECT_THAT(log.error().context, HasSubstr(folder_ + "/missing/access.log"));
  EXPECT_THAT(log.error().context, HasSubstr("No such file"));
}

TEST_F(AccessLogFileTest, CountsWhatDidNotFit) {
  const auto log = AccessLog::open({.path = path_, .queue_bytes_per_worker = 100});
  ASSERT_TRUE(log.has_value());
  (*log)->write(0, example());  // longer than the whole queue
  EXPECT_EQ((*log)->dropped(), 1u);
  EXPECT_EQ((*log)->written(), 0u);
}

}  // namespace
}  // namespace sluice::observability
