// SPDX-License-Identifier: GPL-3.0-or-later
// A client and a server that hand each other bytes.
#include "pair.h"

#include <algorithm>

#include "foreign_peer.h"
#include "sluice/base/check.h"
#include "tls_record.h"

namespace sluice::tls::testing {

namespace {

WallTime clock_now = now;

// Each piece lies in memory of its own exact size, so that a sanitizer sees what is read beyond it.
template <class F>
void in_pieces(Bytes bytes, std::size_t chunk, F&& f) {
  while (!bytes.empty()) {
    const std::size_t size = std::min(chunk, bytes.size());
    const Buffer piece(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    bytes = bytes.subspan(size);
    f(piece);
  }
}

}  // namespace

void set_up_library() {
  const auto started = initialize();
  CHECK(started.has_value());
  set_wall_clock([] { return clock_now; });
  clock_now = now;
}

void set_clock(WallTime time) { clock_now = time; }

Buffer take_pending(Engine& engine) {
  Buffer bytes(engine.pending_bytes());
  RecordBuffer out{bytes.data(), 0, bytes.size()};
  engine.take_pending(out);
  CHECK_EQ(out.size, bytes.size());
  CHECK_EQ(engine.pending_bytes(), 0U);
  return bytes;
}

Buffer encrypt(Engine& engine, Bytes plain, std::size_t record_bytes) {
  Buffer all;
  Buffer room(2 * encrypted_record_bytes_max);  // what is pending goes first
  while (!plain.empty()) {
    const std::size_t part = std::min(record_bytes, plain.size());
    RecordBuffer out{room.data(), 0, room.size()};
    CHECK(test::write_record(engine, plain.first(part), out));
    all.insert(all.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(out.size));
    plain = plain.subspan(part);
  }
  return all;
}

Received decrypt(Engine& engine, Bytes encrypted, std::size_t chunk) {
  Received received;
  in_pieces(encrypted, chunk, [&](const Buffer& piece) {
    engine.feed(piece);
    for (;;) {
      const auto result = engine.read();
      received.status = result.status;
      if (result.status != Engine::Status::done) break;
      ++received.reads;
      received.plain.insert(received.plain.end(), result.plain.begin(), result.plain.end());
    }
  });
  return received;
}

const Authority& authority() {
  static const Authority the_authority;
  return the_authority;
}

ServerOptions server_options() {
  ServerOptions options;
  options.certificate_chain_pem = authority().server.pem();
  options.private_key_pem = authority().server.key_pem();
  options.client_ca_pem = authority().ca.pem();
  return options;
}

ClientOptions client_options() {
  ClientOptions options;
  options.ca_pem = authority().ca.pem();
  return options;
}

ClientOptions client_options(const std::vector<const test::Certificate*>& chain,
                             const test::Key& key) {
  ClientOptions options = client_options();
  options.certificate_chain_pem = test::pem_chain(chain);
  options.private_key_pem = key.pem();
  return options;
}

std::shared_ptr<const ServerContext> make_server(const ServerOptions& options) {
  auto context = ServerContext::create(options);
  if (!context) ADD_FAILURE() << context.error().context;
  CHECK(context.has_value());
  return std::move(*context);
}

std::shared_ptr<const ClientContext> make_client(const ClientOptions& options) {
  auto context = ClientContext::create(options);
  if (!context) ADD_FAILURE() << context.error().context;
  CHECK(context.has_value());
  return std::move(*context);
}

bool shake_hands(Engine& ours, ForeignPeer& foreign) {
  Buffer bytes = foreign.step({});
  if (bytes.empty()) {
    ours.handshake();
    bytes = foreign.step(take_pending(ours));
  }
  for (int round = 0; round < 20 && !bytes.empty(); ++round) {
    ours.feed(bytes);
    ours.handshake();
    ours.keep_input();
    bytes = foreign.step(take_pending(ours));
  }
  return ours.established() && foreign.established();
}

Pair::Pair(const ServerOptions& server_options, const ClientOptions& client_options)
    : Pair(make_server(server_options), make_client(client_options)) {}

Pair::Pair(std::shared_ptr<const ServerContext> server_shared,
           std::shared_ptr<const ClientContext> client_shared)
    : server_context(std::move(server_shared)), client_context(std::move(client_shared)) {
  server = std::move(Engine::server(server_context).value());
  client = std::move(Engine::client(client_context, "sluice.test").value());
}

bool Pair::shake_hands(std::size_t chunk) {
  const auto carry = [chunk](Engine& from, Engine& to) {
    const Buffer bytes = take_pending(from);
    in_pieces(bytes, chunk, [&](const Buffer& piece) {
      to.feed(piece);
      to.handshake();
      to.keep_input();
    });
    return !bytes.empty();
  };
  client->handshake();
  bool moved = true;
  for (int round = 0; moved && round < 20; ++round) {
    moved = carry(*client, *server);
    moved = carry(*server, *client) || moved;
  }
  return client->established() && server->established();
}

}  // namespace sluice::tls::testing
