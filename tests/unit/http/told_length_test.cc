// SPDX-License-Identifier: GPL-3.0-or-later
// What Content-Length says.
#include "sluice/http/told_length.h"

#include <gtest/gtest.h>

namespace sluice::http {
namespace {

std::optional<std::uint64_t> told(std::string_view value) {
  Fields fields;
  fields.add("content-length", std::string(value));
  return told_length(fields);
}

TEST(ToldLength, IsItsNumber) {
  EXPECT_EQ(told("0"), 0U);
  EXPECT_EQ(told("32768"), 32768U);
  EXPECT_EQ(told_length({}), std::nullopt);
}

TEST(ToldLength, WhatIsNoNumberIsLongerThanAnything) {
  for (const std::string_view value :
       {"", "-1", "+1", " 1", "1 ", "0x10", "1,1", "18446744073709551616"}) {
    EXPECT_EQ(told(value), no_length) << value;
  }
}

}  // namespace
}  // namespace sluice::http
