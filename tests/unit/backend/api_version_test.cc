// SPDX-License-Identifier: GPL-3.0-or-later
// Which version a server says that it serves.
#include "sluice/backend/api_version.h"

#include <gtest/gtest.h>

namespace sluice::backend {
namespace {

std::string read(std::string_view json) {
  const auto version = read_api_version(json);
  return version ? version->to_string() : "none";
}

TEST(ApiVersionTest, IsThatOfTheProgram) {
  EXPECT_EQ(read(R"({
  "major": "1",
  "minor": "31",
  "gitVersion": "v1.31.2",
  "gitTreeState": "clean",
  "platform": "linux/amd64"
})"),
            "1.31");
}

TEST(ApiVersionTest, IsTheOneThatIsEmulatedIfThereIsOne) {
  EXPECT_EQ(read(R"({"major":"1","minor":"37","emulationMajor":"1","emulationMinor":"36",)"
                 R"("minCompatibilityMajor":"1","minCompatibilityMinor":"35"})"),
            "1.36");
  EXPECT_EQ(read(R"({"major":"1","minor":"37","emulationMajor":"","emulationMinor":""})"), "1.37");
}

TEST(ApiVersionTest, MinorVersionsOfVendorsHaveSomethingBehindThem) {
  EXPECT_EQ(read(R"({"major":"1","minor":"27+"})"), "1.27");
}

TEST(ApiVersionTest, WhatElseThereIsIsSkipped) {
  EXPECT_EQ(read(R"({"a":{"minor":"9","b":["}",{"major":"8"}]},"n":-1.5e3,"t":true,"major":"1",)"
                 R"("x\"minor":"7","minor":"30","z":null})"),
            "1.30");
}

TEST(ApiVersionTest, WhatIsNoSuchAnswerSaysNothing) {
  for (const char* text : {"",
                           "{",
                           "}",
                           "[]",
                           "null",
                           R"("1.30")",
                           R"({"major":"1"})",
                           R"({"minor":"30"})",
                           R"({"major":"x","minor":"30"})",
                           R"({"major":"1","minor":"+"})",
                           R"({"major":"0","minor":"30"})",
                           R"({"major":1,"minor":30})",
                           R"({"major":"1","minor":"99999"})",
                           R"({"major":"1","minor":"30")",
                           R"({"major":"1","minor":"30"}})",
                           R"({"major":"1","minor":"30"} x)",
                           R"({"major":"1" "minor":"30"})",
                           R"({"major":"1","minor":"30)",
                           R"({"major":"1","minor":"30\)",
                           R"({"a":],"major":"1","minor":"30"})",
                           R"({"a":[,"major":"1","minor":"30"})",
                           "<html>1.30</html>"}) {
    EXPECT_EQ(read(text), "none") << text;
  }
}

TEST(ApiVersionTest, TheNewerHasTheLargerNumber) {
  const auto number = [](std::uint16_t major, std::uint16_t minor) {
    return ApiVersion{major, minor}.number();
  };
  EXPECT_LT(number(1, 9), number(1, 10));
  EXPECT_LT(number(1, 99), number(2, 0));
  EXPECT_EQ(ApiVersion::of(number(1, 37)), (ApiVersion{1, 37}));
}

}  // namespace
}  // namespace sluice::backend
