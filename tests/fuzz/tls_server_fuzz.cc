// SPDX-License-Identifier: GPL-3.0-or-later
// Anything sent to a TLS server instead of a handshake, in pieces whose sizes the input says. No
// bytes without a key exchange may ever complete it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "certificates.h"
#include "sluice/base/check.h"
#include "sluice/tls/context.h"
#include "sluice/tls/engine.h"

namespace {

std::uint64_t counter = 0;

// With and without asking for certificates.
std::shared_ptr<const sluice::tls::ServerContext> make_context(bool asks) {
  using namespace sluice;
  CHECK(tls::initialize().has_value());
  const test::Certificate ca = test::make_ca("fuzz-ca");
  const test::Certificate server = test::issue_server(ca, {"sluice.test"});
  // Equal runs for equal inputs; the library refuses seeds that repeat.
  tls::set_entropy([](MutableBytes bytes) {
    for (auto& byte : bytes) {
      counter = counter * 6364136223846793005U + 1442695040888963407U;
      byte = static_cast<std::uint8_t>(counter >> 56);
    }
  });
  tls::set_wall_clock([] { return WallTime{std::chrono::seconds{1767225600}}; });
  tls::ServerOptions options;
  options.certificate_chain_pem = server.pem();
  options.private_key_pem = server.key_pem();
  if (asks) options.client_ca_pem = ca.pem();
  options.alpn = {"h2", "http/1.1"};
  auto context = tls::ServerContext::create(options);
  CHECK(context.has_value());
  return std::move(*context);
}

void run(const std::shared_ptr<const sluice::tls::ServerContext>& context, const std::uint8_t* data,
         std::size_t size) {
  using namespace sluice;
  using Status = tls::Engine::Status;
  counter = 1;
  auto engine = std::move(tls::Engine::server(context).value());
  std::size_t piece_max = size;
  if (size > 2) {
    piece_max = 1 + (static_cast<std::size_t>(data[0]) << 8 | data[1]);
    data += 2;
    size -= 2;
  }
  std::vector<std::uint8_t> room(64 * 1024);
  while (size > 0) {
    const std::vector<std::uint8_t> piece(data, data + std::min(size, piece_max));
    data += piece.size();
    size -= piece.size();
    engine->feed(piece);
    const Status status = engine->handshake();
    CHECK(status == Status::need_input || status == Status::failed);
    CHECK(!engine->established());
    CHECK(!engine->peer_certificate().presented);
    engine->keep_input();
    tls::RecordBuffer out{room.data(), 0, room.size()};
    engine->take_pending(out);
    if (status == Status::failed) break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto asking = make_context(true);
  static const auto silent = make_context(false);
  run(asking, data, size);
  run(silent, data, size);
  return 0;
}
