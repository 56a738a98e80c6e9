// SPDX-License-Identifier: GPL-3.0-or-later
// What an idle connection holds, counted at the allocator.
#include <malloc.h>

#include "pair.h"

namespace sluice::tls::testing {
namespace {

std::size_t bytes_in_use() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(MemoryTest, AnIdleConnectionIsSmall) {
  set_up_library();
  if (bytes_in_use() == 0) GTEST_SKIP() << "a sanitizer's allocator does not count";
  const auto server = make_server(server_options());
  const auto plain_client = make_client(client_options());
  const auto known_client = std::shared_ptr<const ClientContext>(
      make_client(client_options({&authority().client}, authority().client.key)));
  constexpr std::size_t count = 200;
  for (const auto& client : {plain_client, known_client}) {
    std::vector<std::unique_ptr<Engine>> servers;
    servers.reserve(count);
    Pair first(server, client);
    ASSERT_TRUE(first.shake_hands());
    std::size_t server_bytes = 0;
    for (std::size_t i = 0; i < count; ++i) {
      Pair pair(server, client);
      ASSERT_TRUE(pair.shake_hands());
      const Buffer hello = encrypt(*pair.client, as_bytes("hello"));
      ASSERT_EQ(decrypt(*pair.server, hello).plain.size(), 5U);
      ASSERT_EQ(decrypt(*pair.client, encrypt(*pair.server, as_bytes("hello"))).plain.size(), 5U);
      servers.push_back(std::move(pair.server));
      const std::size_t with_client = bytes_in_use();
      pair.client.reset();
      const std::size_t without_client = bytes_in_use();
      if (i == 0) std::printf("    client connection: %zu bytes\n", with_client - without_client);
      if (i == 0) server_bytes = without_client;
    }
    server_bytes = (bytes_in_use() - server_bytes) / (count - 1);
    std::printf("    idle server connection: %zu bytes (%s a client certificate of %zu bytes)\n",
                server_bytes, client == known_client ? "with" : "without",
                authority().client.der.size());
    EXPECT_GT(server_bytes, 1000U);
    EXPECT_LT(server_bytes, 5000U);
  }
}

}  // namespace
}  // namespace sluice::tls::testing
