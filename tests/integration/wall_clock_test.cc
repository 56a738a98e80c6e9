// SPDX-License-Identifier: GPL-3.0-or-later
// The wall clock jumps, as it does where a machine's time is corrected: it is for logs and
// certificates, and no deadline goes by it.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <ctime>

#include "harness.h"

namespace sluice::test {
namespace {

constexpr std::int64_t hour = 3600;
constexpr std::int64_t day = 24 * hour;

class WallClockTest : public IntegrationTest {
 protected:
  void start_with_offset(std::string_view library, const Flags& flags) {
    jump(0);
    start_apisim({"--pods=3"});
    start_sluice(
        {.flags = flags,
         .environment = {{"LD_PRELOAD", std::string(library)}, {"WALL_CLOCK_OFFSET", file_}}});
  }
  // In one piece, where it is: the program has the file mapped.
  void jump(std::int64_t seconds) const {
    const int file = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(::pwrite(file, &seconds, sizeof(seconds), 0), ssize_t{sizeof(seconds)});
    ::close(file);
  }
  static std::string date_in(std::int64_t seconds) {
    const std::time_t then = std::time(nullptr) + seconds;
    std::tm parts{};
    gmtime_r(&then, &parts);
    std::array<char, 32> text{};
    return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT", &parts)};
  }

  const TemporaryDirectory directory_;
  const std::string file_ = directory_.file("offset");
};

TEST_F(WallClockTest, ItsJumpsMoveNoDeadlineAndEndNothing) {
  const char* const library = std::getenv("WALL_CLOCK_LIBRARY");
  if (library == nullptr) GTEST_SKIP() << "WALL_CLOCK_LIBRARY does not say what to preload";
  if (sanitized()) GTEST_SKIP() << "a sanitizer wants to be loaded first";
  const std::string log = directory_.file("access.log");
  start_with_offset(library, {"--access-log=" + log});
  const auto client = connect(&credentials.alice);
  const auto watches = open_watches(*client, 10);
  for (const std::int64_t seconds : {hour, -hour, day, -day, 30 * day, -30 * day, 30 * day}) {
    jump(seconds);
    const auto newcomer = connect(&credentials.bob);
    // Longer than from one probe to the next, and than what they wait for an answer.
    for (int i = 0; i < 12; ++i) {
      EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
      EXPECT_EQ(newcomer->fetch({.path = std::string(object_path)}).status, 200);
      loop->run_for(100ms);
    }
    EXPECT_EQ(sluice->metric("sluice_backend_ready"), 3.0) << seconds;
  }
  for (const Http2Client::Id id : watches) {
    EXPECT_FALSE(client->answer(id).over) << client->answer(id).describe();
  }
  EXPECT_EQ(sluice->metric("sluice_local_replies_total"), 0.0);
  EXPECT_EQ(sluice->metric("sluice_backend_connections_lost_total"), 0.0);
  // The program has seen them.
  EXPECT_TRUE(eventually([&] {
    const std::string lines = read_file(log);
    return lines.contains(date_in(30 * day)) && lines.contains(date_in(-30 * day));
  }));
}

}  // namespace
}  // namespace sluice::test
