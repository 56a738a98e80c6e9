// SPDX-License-Identifier: GPL-3.0-or-later
// What is not needed any more is not there any more.
#include "sluice/tls/secret.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <new>
#include <string_view>

namespace sluice::tls {
namespace {

constexpr std::string_view text = "a private key that is longer than a short string";

TEST(SecretTest, IsOverwrittenInItsPlace) {
  Secret secret{std::string(text)};
  EXPECT_EQ(secret.text(), text);
  EXPECT_FALSE(secret.empty());
  const char* place = secret.text().data();
  secret.wipe();
  EXPECT_TRUE(secret.empty());
  ASSERT_EQ(secret.text().data(), place);
  EXPECT_TRUE(std::all_of(place, place + text.size(), [](char c) { return c == 0; }));
}

TEST(SecretTest, TakesOverWithoutACopy) {
  std::string read(text);
  const char* place = read.data();
  Secret secret(std::move(read));
  EXPECT_EQ(secret.text().data(), place);
  Secret second(std::move(secret));
  EXPECT_EQ(second.text().data(), place);
  EXPECT_TRUE(secret.empty());  // NOLINT: what is left is asked on purpose
  second = Secret(std::string("other"));
  EXPECT_EQ(second.text(), "other");
}

TEST(SecretTest, CopiesAreSecretsOfTheirOwn) {
  Secret secret{std::string(text)};
  Secret copy(secret);
  EXPECT_EQ(copy, secret);
  secret.wipe();
  EXPECT_EQ(copy.text(), text);
  EXPECT_FALSE(copy == secret);
  copy = Secret();
  EXPECT_TRUE(copy.empty());
}

// A short text lies within the object.
TEST(SecretTest, ItsEndIsOverwrittenToo) {
  alignas(Secret) unsigned char room[sizeof(Secret)];
  const std::string_view small = "short key";
  auto* secret = new (room) Secret(std::string(small));
  const std::string_view object(reinterpret_cast<const char*>(room), sizeof room);
  EXPECT_NE(object.find(small), std::string_view::npos);
  secret->~Secret();
  EXPECT_EQ(object.find(small), std::string_view::npos);
}

}  // namespace
}  // namespace sluice::tls
