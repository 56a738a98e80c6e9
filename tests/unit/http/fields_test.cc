// SPDX-License-Identifier: GPL-3.0-or-later
// Field lists, and what stops at a hop.
#include "sluice/http/fields.h"

#include <gtest/gtest.h>

#include "sluice/http/connection_fields.h"

namespace sluice::http {
namespace {

TEST(FieldsTest, KeepsOrderAndRepeatedNames) {
  Fields fields;
  fields.add("warning", "one");
  fields.add("vary", "accept");
  fields.add("warning", "two");
  ASSERT_EQ(fields.size(), 3U);
  EXPECT_EQ(fields.find("warning"), "one");
  EXPECT_EQ(fields[2].value, "two");
}

TEST(FieldsTest, RemovingKeepsTheOthersIntact) {
  Fields fields;
  for (int i = 0; i < 100; ++i) fields.add("n" + std::to_string(i), std::string(100, 'v'));
  EXPECT_EQ(fields.remove_if([](const Field& f) { return f.name.back() == '7'; }), 10U);
  EXPECT_EQ(fields.size(), 90U);
  EXPECT_FALSE(fields.contains("n7"));
  EXPECT_EQ(fields[89].name, "n99");
}

TEST(FieldsTest, ListBytesCountThirtyTwoForEachField) {
  Fields fields;
  fields.add("a", "bc");
  EXPECT_EQ(fields.list_bytes(), 35U);
}

TEST(ConnectionFieldsTest, NominatedFieldsGoTogetherWithTheNominator) {
  Fields fields;
  fields.add("connection", "X-Remote-User ,\tfoo,");
  fields.add("x-remote-user", "admin");
  fields.add("foo", "1");
  fields.add("bar", "2");
  fields.add("te", "trailers");
  remove_connection_fields(fields);
  ASSERT_EQ(fields.size(), 1U);
  EXPECT_EQ(fields[0].name, "bar");
}

TEST(ConnectionFieldsTest, OrdinaryFieldsStay) {
  Fields fields;
  fields.add("content-type", "application/json");
  fields.add("upgrade-insecure-requests", "1");
  remove_connection_fields(fields);
  EXPECT_EQ(fields.size(), 2U);
}

TEST(FieldsTest, KeepsOneFieldAndGivesBackWhatOthersTook) {
  Fields fields;
  for (int i = 0; i < 100; ++i) fields.add("x-" + std::to_string(i), std::string(1000, 'x'));
  fields.add("user-agent", "kubectl/v1.37");
  fields.add("user-agent", "another");
  fields.add("accept", "*/*");
  fields.keep_only("user-agent", 7);
  ASSERT_EQ(fields.size(), 1U);
  EXPECT_EQ(fields[0].name, "user-agent");
  EXPECT_EQ(fields[0].value, "kubectl");
  EXPECT_LE(fields.held_bytes(), Fields::kept_bytes_max);
  fields.keep_only("user-agent", 1000);
  EXPECT_EQ(fields.find("user-agent"), "kubectl");
  fields.add("more", "of it");
  EXPECT_EQ(fields.find("more"), "of it");
  EXPECT_EQ(fields.find("user-agent"), "kubectl");
  fields.keep_only("audit-id", 7);
  EXPECT_TRUE(fields.empty());
}

TEST(FieldsTest, AListOfUsualSizeKeepsItsMemory) {
  Fields fields;
  for (int i = 0; i < 10; ++i) fields.add("x-" + std::to_string(i), std::string(50, 'x'));
  const std::size_t held = fields.held_bytes();
  fields.keep_only("x-3", 1000);
  EXPECT_EQ(fields.held_bytes(), held);
}

}  // namespace
}  // namespace sluice::http
