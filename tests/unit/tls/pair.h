// SPDX-License-Identifier: GPL-3.0-or-later
// Two engines that talk in memory, and a certificate authority with everyday certificates. The wall
// clock stands still at `now`.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "certificates.h"
#include "sluice/tls/context.h"
#include "sluice/tls/engine.h"

namespace sluice::tls::testing {

constexpr WallTime now = test::at(1767225600);     // 2026-01-01
constexpr WallTime past = test::at(1735689600);    // a year before
constexpr WallTime future = test::at(1798761600);  // a year after

void set_up_library();  // initialize(), and the clock at `now`
void set_clock(WallTime time);

using Buffer = std::vector<std::uint8_t>;

// Everything an engine wants to send.
Buffer take_pending(Engine& engine);
// Encrypts all of `plain`, in records of up to `record_bytes`.
Buffer encrypt(Engine& engine, Bytes plain, std::size_t record_bytes = plain_record_bytes_max);

struct Received {
  Buffer plain;
  Engine::Status status = Engine::Status::need_input;  // the last one
  std::size_t reads = 0;                               // that gave data
};
// Feeds `encrypted` in pieces of `chunk` and reads whatever comes of it.
Received decrypt(Engine& engine, Bytes encrypted, std::size_t chunk = SIZE_MAX);

// The certificates of one cluster.
struct Authority {
  test::Certificate ca = test::make_ca("cluster-ca");
  test::Certificate server = test::issue_server(ca, {"sluice.test", "127.0.0.1", "::1"});
  test::Certificate client = test::issue_client(ca, "alice", {"dev"});
};
const Authority& authority();  // made once

ServerOptions server_options();
ClientOptions client_options();
// With a client's certificate chain and key.
ClientOptions client_options(const std::vector<const test::Certificate*>& chain,
                             const test::Key& key);

std::shared_ptr<const ServerContext> make_server(const ServerOptions& options);
std::shared_ptr<const ClientContext> make_client(const ClientOptions& options);

class ForeignPeer;
// The same with a foreign peer on the other side.
bool shake_hands(Engine& ours, ForeignPeer& foreign);

class Pair {
 public:
  explicit Pair(const ServerOptions& server = server_options(),
                const ClientOptions& client = client_options());
  Pair(std::shared_ptr<const ServerContext> server, std::shared_ptr<const ClientContext> client);

  // Carries bytes to and fro, `chunk` at a time, until nothing moves. True: both are established.
  bool shake_hands(std::size_t chunk = SIZE_MAX);

  std::shared_ptr<const ServerContext> server_context;
  std::shared_ptr<const ClientContext> client_context;
  std::unique_ptr<Engine> server;
  std::unique_ptr<Engine> client;
};

}  // namespace sluice::tls::testing
