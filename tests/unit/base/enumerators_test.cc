// SPDX-License-Identifier: GPL-3.0-or-later
// Names of enumerators from one list.
#include "sluice/base/enumerators.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

namespace sluice {
namespace {

using ::testing::ElementsAre;

enum class Color : std::uint8_t { red, green, blue };

std::string_view to_string(Color color) {
  switch (color) {
    case Color::red: return "red";
    case Color::green: return "green";
    case Color::blue: return "sky-blue";
  }
  return "unknown";
}

enum class Twin : std::uint8_t { one, other };

std::string_view to_string(Twin twin) {
  return twin == Twin::one || twin == Twin::other ? "twin" : "unknown";
}

TEST(EnumeratorsTest, TheNamesStandInTheOrderOfTheEnumerators) {
  EXPECT_THAT(enumerator_names<Color>(), ElementsAre("red", "green", "sky-blue"));
}

TEST(EnumeratorsTest, FindsAnEnumeratorByItsWholeName) {
  EXPECT_EQ(enumerator_named<Color>("red"), Color::red);
  EXPECT_EQ(enumerator_named<Color>("sky-blue"), Color::blue);
  EXPECT_EQ(enumerator_named<Color>("blue"), std::nullopt);
  EXPECT_EQ(enumerator_named<Color>("Red"), std::nullopt);
  EXPECT_EQ(enumerator_named<Color>(""), std::nullopt);
  EXPECT_EQ(enumerator_named<Color>("unknown"), std::nullopt);
}

TEST(EnumeratorsDeathTest, TwoEnumeratorsOfOneNameAreAMistake) {
  EXPECT_DEATH(enumerator_names<Twin>(), "other != name");
}

}  // namespace
}  // namespace sluice
