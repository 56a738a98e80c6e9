// SPDX-License-Identifier: GPL-3.0-or-later
// What a connection remembers of resources.
#include "sluice/proxy/resource_memory.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

constexpr Instant start{100s};

ResourceMemory::Name resource(int number) {
  return ResourceMemory::name_of("group", "resource-" + std::to_string(number));
}

TEST(ResourceMemoryTest, KnowsNothingAtFirst) {
  const ResourceMemory memory;
  EXPECT_TRUE(memory.empty());
  EXPECT_EQ(memory.written_at(resource(1), 5s, start), std::nullopt);
  EXPECT_EQ(memory.newest_at(resource(1), 5s, start), std::nullopt);
}

TEST(ResourceMemoryTest, AWriteIsRememberedForItsTime) {
  ResourceMemory memory;
  memory.wrote(resource(1), 2, start);
  EXPECT_EQ(memory.written_at(resource(1), 5s, start + 5s - 1ms), 2U);
  EXPECT_EQ(memory.written_at(resource(1), 5s, start + 5s), std::nullopt);
  EXPECT_EQ(memory.written_at(resource(2), 5s, start), std::nullopt);
}

TEST(ResourceMemoryTest, TheLastWriteDecidesAndReadsDoNotMoveIt) {
  ResourceMemory memory;
  memory.wrote(resource(1), 2, start);
  memory.wrote(resource(1), 0, start + 1s);
  memory.read(resource(1), 1, start + 2s);
  EXPECT_EQ(memory.written_at(resource(1), 5s, start + 3s), 0U);
  EXPECT_EQ(memory.newest_at(resource(1), 30s, start + 3s), 1U);
}

TEST(ResourceMemoryTest, WhatComesLastIsNewestWrittenOrRead) {
  ResourceMemory memory;
  memory.read(resource(1), 1, start);
  EXPECT_EQ(memory.written_at(resource(1), 30s, start), std::nullopt);
  EXPECT_EQ(memory.newest_at(resource(1), 30s, start), 1U);
  memory.wrote(resource(1), 2, start + 1s);
  EXPECT_EQ(memory.newest_at(resource(1), 30s, start + 1s), 2U);
  EXPECT_EQ(memory.newest_at(resource(1), 30s, start + 31s), std::nullopt);
}

TEST(ResourceMemoryTest, TheOneNotedLongestAgoMakesRoom) {
  ResourceMemory memory;
  const int max = ResourceMemory::resources_max;
  for (int i = 0; i < max; ++i) memory.wrote(resource(i), 1, start + i * 1ms);
  memory.read(resource(0), 2, start + 100ms);
  memory.wrote(resource(max), 2, start + 101ms);
  EXPECT_EQ(memory.written_at(resource(0), 5s, start + 1s), 1U);
  EXPECT_EQ(memory.written_at(resource(1), 5s, start + 1s), std::nullopt);
  for (int i = 2; i < max; ++i) EXPECT_EQ(memory.written_at(resource(i), 5s, start + 1s), 1U);
  EXPECT_EQ(memory.written_at(resource(max), 5s, start + 1s), 2U);
}

TEST(ResourceMemoryTest, ANewResourceInAnOldPlaceHasNotBeenWritten) {
  ResourceMemory memory;
  for (int i = 0; i < static_cast<int>(ResourceMemory::resources_max); ++i) {
    memory.wrote(resource(i), 1, start);
  }
  memory.read(resource(50), 2, start + 1s);
  EXPECT_EQ(memory.written_at(resource(50), 5s, start + 1s), std::nullopt);
  EXPECT_EQ(memory.newest_at(resource(50), 5s, start + 1s), 2U);
}

TEST(ResourceMemoryTest, GroupAndResourceTogetherAreTheName) {
  const auto name = [](const char* group, const char* resource) {
    return ResourceMemory::name_of(group, resource);
  };
  EXPECT_EQ(name("apps", "deployments"), name("apps", "deployments"));
  const std::set<ResourceMemory::Name> names = {name("", "events"), name("events.k8s.io", "events"),
                                                name("events", ""), name("", "pods")};
  EXPECT_EQ(names.size(), 4U);
}

}  // namespace
}  // namespace sluice::proxy
