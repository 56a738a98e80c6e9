// SPDX-License-Identifier: GPL-3.0-or-later
// What TLS costs on one core, both roles in memory. Goals: to see what a record, a handshake and a
// chain cost, and that nothing allocates more than it did. Not goals: sockets, the peer's side of a
// handshake alone (client and server are timed apart, though).
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include "certificates.h"
#include "sluice/base/check.h"
#include "sluice/tls/client_hello.h"
#include "sluice/tls/context.h"
#include "sluice/tls/engine.h"

namespace {

using namespace sluice;
using tls::Engine;

// Time that this thread has computed: others on the machine do not count.
struct Clock {
  using duration = std::chrono::nanoseconds;
  static duration now() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
  }
};

struct World {
  test::Certificate ca = test::make_ca("ca");
  test::Certificate server_p256 = test::issue_server(ca, {"sluice.test"});
  test::Certificate server_rsa = test::issue_server(ca, {"sluice.test"}, test::KeyType::rsa2048);
  test::Certificate client = test::issue_client(ca, "alice", {"dev"});

  World() { CHECK(tls::initialize().has_value()); }

  std::shared_ptr<const tls::ServerContext> server(bool rsa) const {
    tls::ServerOptions options;
    const test::Certificate& certificate = rsa ? server_rsa : server_p256;
    options.certificate_chain_pem = certificate.pem();
    options.private_key_pem = certificate.key_pem();
    options.client_ca_pem = ca.pem();
    return std::move(tls::ServerContext::create(options).value());
  }

  std::shared_ptr<const tls::ClientContext> backend_client(bool with_certificate) const {
    tls::ClientOptions options;
    options.ca_pem = ca.pem();
    if (with_certificate) {
      options.certificate_chain_pem = client.pem();
      options.private_key_pem = client.key_pem();
    }
    return std::move(tls::ClientContext::create(options).value());
  }
};

const World& world() {
  static const World the_world;
  return the_world;
}

struct Pair {
  std::unique_ptr<Engine> server;
  std::unique_ptr<Engine> client;
  std::vector<std::uint8_t> to_server;
  std::vector<std::uint8_t> to_client;

  Pair(const std::shared_ptr<const tls::ServerContext>& server_context,
       const std::shared_ptr<const tls::ClientContext>& client_context)
      : server(std::move(Engine::server(server_context).value())),
        client(std::move(Engine::client(client_context, "sluice.test").value())) {}

  static void turn(Engine& engine, std::vector<std::uint8_t>& in, std::vector<std::uint8_t>& out) {
    engine.feed(in);
    engine.handshake();
    out.resize(engine.pending_bytes());
    tls::RecordBuffer room{out.data(), 0, out.size()};
    engine.take_pending(room);
  }

  void client_turn() { turn(*client, to_client, to_server); }
  void server_turn() { turn(*server, to_server, to_client); }

  void shake_hands() {
    client_turn();
    server_turn();
    client_turn();
    server_turn();
    CHECK(server->established() && client->established());
  }
};

// Time of the server's side of a handshake; arguments: RSA certificate, client certificate.
void BM_Tls_server_handshake(benchmark::State& state) {
  const auto server = world().server(state.range(0) != 0);
  const auto client = world().backend_client(state.range(1) != 0);
  for (auto _ : state) {
    Clock::duration spent{};
    const auto timed = [&spent](auto&& f) {
      const auto begin = Clock::now();
      f();
      spent += Clock::now() - begin;
    };
    auto their = std::move(Engine::client(client, "sluice.test").value());
    std::unique_ptr<Engine> ours;
    std::vector<std::uint8_t> in;
    std::vector<std::uint8_t> out;
    Pair::turn(*their, out, in);
    timed([&] {
      ours = std::move(Engine::server(server).value());
      Pair::turn(*ours, in, out);
    });
    Pair::turn(*their, out, in);
    timed([&] { Pair::turn(*ours, in, out); });
    CHECK(ours->established());
    timed([&] { ours.reset(); });
    state.SetIterationTime(std::chrono::duration<double>(spent).count());
  }
}
BENCHMARK(BM_Tls_server_handshake)
    ->Args({0, 0})
    ->Args({0, 1})
    ->Args({1, 0})
    ->UseManualTime()
    ->ArgNames({"rsa", "mtls"});

void BM_Tls_client_handshake(benchmark::State& state) {
  const auto server = world().server(false);
  const auto client = world().backend_client(state.range(0) != 0);
  for (auto _ : state) {
    Clock::duration spent{};
    auto begin = Clock::now();
    auto ours = std::move(Engine::client(client, "sluice.test").value());
    std::vector<std::uint8_t> in;
    std::vector<std::uint8_t> out;
    Pair::turn(*ours, in, out);
    spent += Clock::now() - begin;
    auto their = std::move(Engine::server(server).value());
    Pair::turn(*their, out, in);
    begin = Clock::now();
    Pair::turn(*ours, in, out);
    spent += Clock::now() - begin;
    CHECK(ours->established());
    state.SetIterationTime(std::chrono::duration<double>(spent).count());
  }
}
BENCHMARK(BM_Tls_client_handshake)->Arg(0)->Arg(1)->UseManualTime()->ArgName("mtls");

// The plain bytes are put where the record is made, as a session does with its frames.
void write(Engine& engine, Bytes plain, tls::RecordBuffer& out) {
  const MutableBytes place = engine.begin_record(out);
  CHECK(!place.empty());
  std::memcpy(place.data(), plain.data(), plain.size());
  CHECK(engine.end_record(plain.size(), out));
}

// One record written by the server.
void BM_Tls_write(benchmark::State& state) {
  const auto server = world().server(false);
  const auto client = world().backend_client(false);
  Pair pair(server, client);
  pair.shake_hands();
  const std::vector<std::uint8_t> plain(static_cast<std::size_t>(state.range(0)), 'x');
  std::vector<std::uint8_t> room(tls::encrypted_record_bytes_max);
  for (auto _ : state) {
    tls::RecordBuffer out{room.data(), 0, room.size()};
    write(*pair.server, plain, out);
    benchmark::DoNotOptimize(out.size);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Tls_write)->Arg(64)->Arg(200)->Arg(1000)->Arg(4096)->Arg(16384);

// A batch of records read; arguments: size of a record, by the client (which reads ahead)?
void BM_Tls_read(benchmark::State& state) {
  const auto server = world().server(false);
  const auto client = world().backend_client(false);
  Pair pair(server, client);
  pair.shake_hands();
  Engine& from = state.range(1) != 0 ? *pair.server : *pair.client;
  Engine& to = state.range(1) != 0 ? *pair.client : *pair.server;
  const std::vector<std::uint8_t> plain(static_cast<std::size_t>(state.range(0)), 'x');
  const auto records = std::max<std::int64_t>(1, 16384 / state.range(0));
  std::vector<std::uint8_t> room(tls::encrypted_record_bytes_max * 4);
  for (auto _ : state) {
    tls::RecordBuffer out{room.data(), 0, room.size()};
    for (std::int64_t i = 0; i < records; ++i) write(from, plain, out);
    const auto begin = Clock::now();
    to.feed(Bytes(out.data, out.size));
    std::size_t bytes = 0;
    for (;;) {
      const auto result = to.read();
      if (result.status != Engine::Status::done) break;
      bytes += result.plain.size();
    }
    state.SetIterationTime(std::chrono::duration<double>(Clock::now() - begin).count());
    CHECK_EQ(bytes, static_cast<std::size_t>(records * state.range(0)));
  }
  state.SetBytesProcessed(state.iterations() * records * state.range(0));
  state.SetItemsProcessed(state.iterations() * records);
}
BENCHMARK(BM_Tls_read)
    ->ArgsProduct({{64, 200, 1000, 4096, 16384}, {0, 1}})
    ->UseManualTime()
    ->ArgNames({"", "ahead"});

void BM_Tls_verify_chain(benchmark::State& state) {
  const std::string ca = world().ca.pem();
  const std::vector<std::vector<std::uint8_t>> chain = {world().client.der};
  const WallTime now{std::chrono::seconds{1767225600}};
  for (auto _ : state) CHECK(tls::verify_chain(chain, ca, now).has_value());
}
BENCHMARK(BM_Tls_verify_chain);

void BM_Tls_peek_client_hello(benchmark::State& state) {
  const auto client = world().backend_client(false);
  auto engine = std::move(Engine::client(client, "sluice.test").value());
  std::vector<std::uint8_t> none;
  std::vector<std::uint8_t> hello;
  Pair::turn(*engine, none, hello);
  for (auto _ : state) {
    const auto result = tls::peek_client_hello(hello);
    benchmark::DoNotOptimize(result.server_name.data());
  }
}
BENCHMARK(BM_Tls_peek_client_hello);

}  // namespace

BENCHMARK_MAIN();
