// SPDX-License-Identifier: GPL-3.0-or-later
// One line of a long page, however it is cut; and how long ago that was.
#include "process_start.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>

namespace sluice::backend {
namespace {

using namespace std::chrono_literals;

const std::string page =
    "# HELP process_start_time_seconds [STABLE] Start time of the process since unix epoch.\n"
    "# TYPE process_start_time_seconds gauge\n"
    "apiserver_long{x=\"" +
    std::string(ProcessStartReader::line_bytes_max * 3, 'x') +
    "\"} 1\n"
    "process_start_time_seconds 1.76432510153e+09\n"
    "process_virtual_memory_bytes 1.6e+09\n";

std::optional<double> read(std::string_view text) {
  ProcessStartReader reader;
  EXPECT_TRUE(reader.feed(text));
  return reader.seconds();
}

TEST(ProcessStartTest, TheLineIsFoundWhereverThePageIsCut) {
  EXPECT_EQ(read(page), 1764325101.53);
  for (std::size_t cut = 0; cut <= page.size(); ++cut) {
    ProcessStartReader reader;
    reader.feed(std::string_view(page).substr(0, cut));
    reader.feed(std::string_view(page).substr(cut));
    EXPECT_EQ(reader.seconds(), 1764325101.53) << cut;
  }
  ProcessStartReader reader;
  for (const char& c : page) reader.feed({&c, 1});
  EXPECT_EQ(reader.seconds(), 1764325101.53);
}

TEST(ProcessStartTest, ALineWithoutAnEndIsNone) {
  EXPECT_EQ(read("process_start_time_seconds 17"), std::nullopt);
  EXPECT_EQ(read("process_start_time_seconds 17\n"), 17);
}

TEST(ProcessStartTest, OtherLinesAreNone) {
  for (const std::string_view line :
       {"process_start_time_seconds\n", "process_start_time_seconds x\n",
        "process_start_time_seconds 1x\n", "process_start_time_seconds  1\n",
        "process_start_time_seconds{a=\"b\"} 1\n", "process_start_time_seconds_x 1\n",
        " process_start_time_seconds 1\n", "", "\n\n"}) {
    EXPECT_EQ(read(line), std::nullopt) << line;
  }
  EXPECT_EQ(read("process_start_time_seconds 5 1764325101000\n"), 5) << "with a time stamp";
}

TEST(ProcessStartTest, TwoSuchLinesAreNone) {
  EXPECT_EQ(read("process_start_time_seconds 1\nprocess_start_time_seconds 2\n"), std::nullopt);
}

TEST(ProcessStartTest, ALineThatIsTooLongIsPassedOverInPieces) {
  ProcessStartReader reader;
  reader.feed("process_start_time_seconds 1");
  for (int i = 0; i < 100; ++i) reader.feed("0000000000");
  EXPECT_EQ(reader.seconds(), std::nullopt);
  reader.feed("\nprocess_start_time_seconds 7\n");
  EXPECT_EQ(reader.seconds(), 7);
}

TEST(ProcessStartTest, APageWithoutEndIsGivenUp) {
  ProcessStartReader reader;
  std::string piece(std::size_t{1} << 20, 'x');
  for (std::size_t i = 0; i < piece.size(); i += 1000) piece[i] = '\n';
  std::size_t taken = 0;
  while (reader.feed(piece)) taken += piece.size();
  EXPECT_EQ(taken, ProcessStartReader::page_bytes_max);
}

TEST(HttpDateTest, IsReadAsItIsWritten) {
  EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), WallTime(784111777s));
  EXPECT_EQ(parse_http_date("Thu, 29 Feb 2024 23:59:60 GMT"), WallTime(1709251200s));
}

TEST(HttpDateTest, NothingElseIsOne) {
  for (const std::string_view text :
       {"", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 31 Jun 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMTx", "Sun; 06 Nov 1994 08:49:37 GMT"}) {
    EXPECT_EQ(parse_http_date(text), std::nullopt) << text;
  }
}

TEST(ProcessAgeTest, IsTheDifferenceOfTheServersOwnTimes) {
  EXPECT_EQ(process_age(1000.25, WallTime(1010s)), 9750ms);
  EXPECT_EQ(process_age(1000, WallTime(1000s)), 0s);
  EXPECT_EQ(process_age(1000.9, WallTime(1000s)), 0s) << "a date is rounded down";
}

TEST(ProcessAgeTest, WhatCannotBeIsNone) {
  EXPECT_EQ(process_age(2000, WallTime(1000s)), std::nullopt);
  EXPECT_EQ(process_age(-1e12, WallTime(1000s)), std::nullopt);
  EXPECT_EQ(process_age(std::numeric_limits<double>::quiet_NaN(), WallTime(1000s)), std::nullopt);
  EXPECT_EQ(process_age(std::numeric_limits<double>::infinity(), WallTime(1000s)), std::nullopt);
}

}  // namespace
}  // namespace sluice::backend
