// SPDX-License-Identifier: GPL-3.0-or-later
// The table of streams against a model.
#include "http2/stream.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "sluice/base/random.h"

namespace sluice::http2 {
namespace {

TEST(StreamTableTest, AgreesWithAMapOverManyOperations) {
  Random random(42);
  StreamTable table;
  std::map<StreamId, std::unique_ptr<Stream>> model;
  StreamId next = 1;
  for (int i = 0; i < 200'000; ++i) {
    if (model.empty() || (model.size() < 600 && random.below(100) < 51)) {
      auto stream = std::make_unique<Stream>();
      stream->id = next;
      // Long-lived streams among short ones: ids come to lie far apart and collide.
      next += 2 * static_cast<StreamId>(1 + random.below(200));
      table.insert(stream.get());
      model.emplace(stream->id, std::move(stream));
    } else {
      auto at = model.begin();
      std::advance(at, random.below(static_cast<std::uint32_t>(model.size())));
      table.erase(at->first);
      EXPECT_EQ(table.find(at->first), nullptr);
      model.erase(at);
    }
    if (i % 1000 == 0) {
      for (const auto& [id, stream] : model) ASSERT_EQ(table.find(id), stream.get());
      std::size_t counted = 0;
      table.for_each([&](Stream&) { ++counted; });
      EXPECT_EQ(counted, model.size());
    }
    ASSERT_EQ(table.size(), model.size());
  }
  while (!model.empty()) {
    table.erase(model.begin()->first);
    model.erase(model.begin());
  }
  EXPECT_EQ(table.find(1), nullptr);
}

TEST(StreamTest, PartsOnlyMoveForward) {
  Stream stream;
  stream.send(Part::body);
  stream.send(Part::ended);
  stream.receive(Part::ended);
  EXPECT_DEATH(stream.send(Part::body), "part");
  EXPECT_DEATH(stream.receive(Part::head), "part");
}

}  // namespace
}  // namespace sluice::http2
