// SPDX-License-Identifier: GPL-3.0-or-later
// What the HTTP/2 codec costs: an exchange through both ends (client and server session), body
// bytes, and the memory of an idle session. Goal: an exchange of usual size below 2 µs for both
// ends together. Not measured here: TLS, sockets, balancing.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/http2/codec_memory.h"
#include "sluice/http2/session.h"

namespace sluice::http2 {
namespace {

constexpr Instant start{};

http::RequestHead request() {
  http::RequestHead head;
  head.method = "GET";
  head.scheme = "https";
  head.authority = "api.cluster.example:6443";
  head.path = "/api/v1/namespaces/kube-system/pods/coredns-7db6d8ff4d-abcde";
  head.fields.add("accept", "application/vnd.kubernetes.protobuf,application/json");
  head.fields.add("user-agent", "kubelet/v1.37.2 (linux/amd64) kubernetes/abcdef0");
  head.fields.add("accept-encoding", "gzip");
  head.fields.add("x-remote-user", "system:node:node-1");
  head.fields.add("x-remote-group", "system:nodes");
  return head;
}

http::ResponseHead response(std::size_t body_bytes) {
  http::ResponseHead head;
  head.status = 200;
  head.fields.add("audit-id", "0b6a3f1c-6a1e-4f8e-9a55-5b8b0d9d6c11");
  head.fields.add("cache-control", "no-cache, private");
  head.fields.add("content-type", "application/vnd.kubernetes.protobuf");
  head.fields.add("x-kubernetes-pf-flowschema-uid", "c9a7d0f2-9b0e-4a3e-8c38-1b5c0d1f2a3b");
  head.fields.add("content-length", std::to_string(body_bytes));
  return head;
}

class End : public SessionHandler {
 public:
  explicit End(const SessionOptions& options, std::size_t body = 0)
      : session(*this, options, start), answer(response(body)), body_bytes(body) {}
  void on_request(StreamRef ref, http::RequestHead&& head, bool) override {
    taken = std::move(head);  // as an exchange does
    session.submit_response(ref.id, answer, body_bytes > 0);
  }
  void on_response(StreamRef, http::ResponseHead&& head, bool) override { got = std::move(head); }
  void on_data(StreamRef ref, Bytes bytes) override {
    received += bytes.size();
    session.consume(ref.id, bytes.size());
  }
  void on_end_of_stream(StreamRef) override {}
  void on_stream_closed(StreamRef, ErrorCode code, bool) override {
    CHECK_EQ(code, ErrorCode::no_error);
    ++closed;
  }
  BodyResult on_body_wanted(StreamRef ref, MutableBytes room) override {
    std::size_t& sent = sent_of[static_cast<std::size_t>(ref.id / 2) % sent_of.size()];
    const std::size_t n = std::min(room.size(), body_bytes - sent);
    sent += n;
    if (sent < body_bytes) return {n, BodyStatus::more};
    sent = 0;
    return {n, BodyStatus::finished};
  }

  Session session;
  http::ResponseHead answer;
  http::RequestHead taken;
  http::ResponseHead got;
  std::size_t body_bytes;
  std::array<std::size_t, 64> sent_of{};  // by stream; there are never more at once
  std::size_t received = 0;
  std::size_t closed = 0;
};

SessionOptions options(bool server, CodecMemory& memory) {
  SessionOptions o;
  o.server = server;
  o.memory = &memory;
  return o;
}

struct Wire {
  explicit Wire(std::size_t body_bytes)
      : client(options(false, memory)), server(options(true, memory), body_bytes) {
    run();
  }

  bool move(End& from, End& to) {
    bool moved = false;
    while (const std::size_t n = from.session.collect(batch)) {
      CHECK(to.session.feed(Bytes(batch).first(n), start).has_value());
      bytes += n;
      moved = true;
    }
    return moved;
  }
  void run() {
    for (bool moved = true; moved;) {
      moved = move(client, server);
      moved = move(server, client) || moved;
    }
  }

  CodecMemory memory;
  std::vector<std::uint8_t> batch = std::vector<std::uint8_t>(16384);
  std::size_t bytes = 0;
  End client;
  End server;
};

void BM_Exchange(benchmark::State& state) {
  Wire wire(static_cast<std::size_t>(state.range(1)));
  const http::RequestHead head = request();
  const auto batch = static_cast<std::size_t>(state.range(0));
  wire.bytes = 0;
  for (auto _ : state) {
    for (std::size_t i = 0; i < batch; ++i) {
      CHECK(wire.client.session.submit_request(head, false, i).has_value());
    }
    wire.run();
  }
  const auto exchanges = static_cast<double>(state.iterations()) * static_cast<double>(batch);
  CHECK_EQ(wire.client.closed, static_cast<std::size_t>(exchanges));
  state.SetItemsProcessed(static_cast<std::int64_t>(exchanges));
  state.counters["ns_each"] =
      benchmark::Counter(exchanges, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["wire_bytes_each"] = static_cast<double>(wire.bytes) / exchanges;
}
BENCHMARK(BM_Exchange)
    ->ArgNames({"batch", "body"})
    ->Args({1, 0})
    ->Args({32, 0})
    ->Args({1, 1024})
    ->Args({32, 1024});

// Body bytes from one end to the other: one copy into the batch, none at the receiver.
void BM_Body(benchmark::State& state) {
  Wire wire(static_cast<std::size_t>(state.range(0)));
  const http::RequestHead head = request();
  for (auto _ : state) {
    CHECK(wire.client.session.submit_request(head, false, 0).has_value());
    wire.run();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(wire.client.received));
}
BENCHMARK(BM_Body)->Arg(100 << 10)->Arg(10 << 20);

// Resident memory, whatever allocator is linked.
std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

void BM_IdleSessionMemory(benchmark::State& state) {
  const bool shared = state.range(0) != 0;
  constexpr std::size_t count = 4000;
  CodecMemory memory;
  SessionOptions client_options = options(false, memory);
  SessionOptions server_options = options(true, memory);
  if (!shared) client_options.memory = server_options.memory = nullptr;
  std::vector<std::uint8_t> hello(16384);
  std::vector<std::uint8_t> answer(16384);
  End client(client_options);
  hello.resize(client.session.collect(hello));
  std::vector<std::unique_ptr<End>> servers;
  servers.reserve(count);
  for (auto _ : state) {
    const std::size_t before = resident_bytes();
    for (std::size_t i = 0; i < count; ++i) {
      servers.push_back(std::make_unique<End>(server_options));
      CHECK(servers.back()->session.feed(hello, start).has_value());
      servers.back()->session.collect(answer);
    }
    state.counters["bytes_each"] = static_cast<double>((resident_bytes() - before) / count);
  }
}
BENCHMARK(BM_IdleSessionMemory)->ArgName("shared")->Arg(1)->Arg(0)->Iterations(1);

}  // namespace
}  // namespace sluice::http2

BENCHMARK_MAIN();
