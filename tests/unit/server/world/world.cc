// SPDX-License-Identifier: GPL-3.0-or-later
// A whole proxy in a world made of a seed.
#include "world.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <utility>

#include "sluice/base/check.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;

constexpr Duration asking = 20s;        // as long as something new is asked
constexpr Duration patience = 120s;     // above every deadline that the proxy has
constexpr Duration stop_at_most = 40s;  // delay, window, and what ends in order

constexpr std::string_view review_path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
constexpr std::string_view certified_user = "alice";

struct Users {
  test::Certificate ca = test::make_ca("clients");
  test::Certificate certified = test::issue_client(ca, certified_user, {"team"});

  static const Users& get() {
    static const Users users;
    return users;
  }
};

// Who speaks HTTP/1.1 agrees on nothing by ALPN.
std::shared_ptr<const tls::ClientContext> client_tls(bool with_certificate, bool http1) {
  const test::ClusterKeys& keys = test::ClusterKeys::get();
  const test::Certificate& certified = Users::get().certified;
  tls::ClientOptions options{
      .ca_pem = keys.serving_ca.pem(), .certificate_chain_pem = {}, .private_key_pem = {}};
  if (with_certificate) {
    options.certificate_chain_pem = certified.pem();
    options.private_key_pem = certified.key_pem();
  }
  if (http1) options.alpn.clear();
  return std::move(*tls::ClientContext::create(options));
}

Random* key_entropy = nullptr;
void draw_keys(MutableBytes bytes) {
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(key_entropy->next());
}

}  // namespace

World::World(std::uint64_t seed)
    : seed_(seed), random_(seed), key_random_(~seed), schedule_(simulation_.reactor()) {
  key_entropy = &key_random_;
  tls::set_entropy(draw_keys);
  // A quarter has nothing but bounded buffers and pieces: there everything is served.
  if (!chance(0.25)) {
    plan_.clients_fail = chance(0.5);
    plan_.backends_fail = chance(0.7);
    plan_.stops_early = chance(0.3);
    plan_.stops_at = up_to(asking);
  }
  plan_.vouches = chance(0.5);
  plan_.replay_body_bytes = std::size_t{1} << random_.below(19);
  draw_servers();
  draw_weather();
  for (std::size_t i = 0; i < backends; ++i) {
    backends_.push_back(std::make_unique<test::ScriptedBackend>(
        simulation_.transport(), WholeServer::backend_address(i),
        test::ScriptedBackend::Options{.max_concurrent_streams = 1 + random_.below(250),
                                       .http1 = true}));
    backends_[i]->on_head = [this, i](test::ScriptedBackend::Request& r) { head_came(i, r); };
    backends_[i]->on_request = [this, i](test::ScriptedBackend::Request& r) { asked(i, r); };
    backends_[i]->on_bytes = [this, i](Http1& connection) { heard(i, connection); };
  }
  for (std::size_t i = 0; i < clients; ++i) {
    const bool http1 = http1_.at(i) = chance(0.4);
    clients_.push_back(std::make_unique<WorldClient>(
        simulation_.transport(), client_tls(plan_.vouches && i == 0, http1),
        [this] { return WholeServer::address(random_.below(workers)); }, http1));
  }
  draw_asks();
  server_ = std::make_unique<WholeServer>(simulation_, server_options());
}

World::~World() {
  schedule_.clear();
  for (const auto& client : clients_) client->terminate();
  server_->stop();
  for (const auto& backend : backends_) backend->stop();
  simulation_.settle();
  CHECK(server_->stopped());
  server_.reset();
  simulation_.settle();
  tls::set_entropy(nullptr);
}

std::size_t World::bytes_up_to(std::uint32_t most) {
  // As often small as large.
  const std::uint32_t bound = std::max(most >> random_.below(16), 1U);
  return random_.below(bound + 1);
}

void World::draw_weather() {
  for (std::size_t i = 0; i < workers + backends; ++i) {
    const bool of_client = i < workers;
    test::Weather weather;
    weather.buffer_bytes_min = std::size_t{1} << (8 + random_.below(10));
    weather.buffer_bytes_max = weather.buffer_bytes_min * 2;
    weather.in_pieces = random_.unit();
    if (of_client ? plan_.clients_fail : plan_.backends_fail) {
      weather.slow = random_.unit() / 2;
      weather.byte_time_max = 20us;
      weather.stalls = random_.unit() / 2;
      weather.resets = random_.unit() / 2;
    }
    simulation_.network().weather(
        of_client ? WholeServer::address(i) : WholeServer::backend_address(i - workers), weather,
        random_.next());
  }
}

void World::draw_asks() {
  asks_.resize(10 + random_.below(40));
  for (std::size_t i = 0; i < asks_.size(); ++i) {
    Ask& ask = asks_[i];
    ask.id = i;
    ask.client = random_.below(clients);
    if (plan_.vouches && ask.client == 0) ask.user = certified_user;
    // Often together with others.
    ask.at = i > 0 && chance(0.6) ? asks_[i - 1].at : up_to(asking);
    const double kind = random_.unit();
    if (kind < 0.2) {
      ask.kind = Ask::Kind::watch;
    } else if (kind < 0.5) {
      ask.kind = Ask::Kind::write;
      ask.request_bytes = bytes_up_to(200'000);
    } else if (kind < 0.7 && http1_.at(ask.client)) {
      draw_tunnel(ask);
    }
    ask.answer_bytes = bytes_up_to(ask.kind == Ask::Kind::watch ? 20'000 : 300'000);
    ask.read_slowly = chance(0.1);
    if (chance(0.1)) ask.cancelled_after = up_to(1s);
  }
}

void World::draw_tunnel(Ask& ask) {
  ask.kind = Ask::Kind::tunnel;
  ask.request_bytes = bytes_up_to(200'000);
  if (chance(0.5)) ask.early_bytes = std::min(ask.request_bytes, bytes_up_to(100'000));
  const double who = random_.unit();
  ask.client_may_end = who < 0.7;
  ask.backend_may_end = who > 0.3;
  ask.client_cuts = chance(0.1);
  ask.backend_cuts = chance(0.1);
}

ServerOptions World::server_options() {
  ServerOptions options = WholeServer::options(backends, workers);
  options.stop.tunnel_window = up_to(20s);
  ClusterOptions& cluster = options.clusters[0];
  cluster.proxy.request_timeout = 20s;
  cluster.proxy.client_stall_timeout = 20s;
  options.thread.worker.transport.send_stall_timeout = 20s;
  cluster.proxy.replay_body_bytes = plan_.replay_body_bytes;
  if (!plan_.vouches) return options;
  const test::ClusterKeys& keys = test::ClusterKeys::get();
  cluster.proxy.vouches_for_identity = true;
  cluster.tls.client_ca_pem = Users::get().ca.pem();
  tls::ClientOptions& identity = cluster.backend_tls.identity.emplace(cluster.backend_tls.plain);
  identity.certificate_chain_pem = keys.front_proxy.pem();
  identity.private_key_pem = keys.front_proxy.key_pem();
  return options;
}

void World::draw_mishaps() {
  for (std::uint32_t i = plan_.clients_fail ? random_.below(3) : 0; i > 0; --i) {
    WorldClient& client = *clients_[random_.below(clients)];
    schedule_.after(up_to(asking), [&client] { client.drop(); });
  }
  // No failure: it reads on in time.
  for (const Ask& ask : asks_) {
    if (chance(0.8)) continue;
    schedule_.after(ask.at + up_to(100ms),
                    [this, &ask] { clients_[ask.client]->pause(up_to(10s)); });
  }
  if (plan_.backends_fail) {
    for (std::uint32_t i = random_.below(4); i > 0; --i) {
      const std::size_t backend = random_.below(backends);
      schedule_.after(up_to(asking), [this, backend] { outage(backend); });
    }
  }
  if (plan_.rolls) {
    schedule_.after(up_to(asking), [this] { roll(random_.below(backends)); });
  }
  if (plan_.stops_early) {
    schedule_.after(plan_.stops_at, [this] { stop(); });
    // Some ask on, because they do not read yet that we go.
    for (const auto& client : clients_) {
      if (chance(0.5)) continue;
      schedule_.after(plan_.stops_at + 4s + up_to(2s),
                      [this, &client] { client->pause(up_to(5s)); });
    }
  }
}

void World::stop() {
  stopping_ = true;
  server_->control().signal(SIGTERM);
}

// --- backends ----------------------------------------------------------------------------------

Ask* World::ask_of(std::string_view number) {
  std::size_t id = asks_.size();
  std::from_chars(number.data(), number.data() + number.size(), id);
  if (id < asks_.size()) return &asks_[id];
  if (number.empty()) return nullptr;
  fault(fmt::format("a backend was asked for '{}'", number));
  return nullptr;
}

void World::check_identity(const test::ScriptedBackend::Request& request, const Ask& ask) {
  const bool vouched = request.connection->with_certificate();
  const std::string expected = vouched ? ask.user : "";
  if (request.field("x-remote-user") != expected ||
      request.field("x-remote-group") != (expected.empty() ? "" : "team") ||
      vouched != !ask.user.empty() ||
      request.field("authorization") != (ask.user.empty() ? "Bearer x" : "")) {
    fault(fmt::format("asked as '{}' in '{}': {}", request.field("x-remote-user"),
                      request.field("x-remote-group"), ask.describe()));
  }
}

void World::execute(std::size_t backend, Ask& ask) {
  ++ask.executed;
  if (ask.kind == Ask::Kind::read || ask.kind == Ask::Kind::write) {
    if (is_slow(plan_.slow)) ++slow_share_.of_all;
    if (is_slow(backend)) ++slow_share_.of_slow;
  }
  if (ask.executed == 1) return;
  if (ask.kind == Ask::Kind::write || ask.kind == Ask::Kind::tunnel) wrong(ask, "done twice");
}

// Some writes are answered before their body is there.
void World::head_came(std::size_t backend, test::ScriptedBackend::Request& request) {
  Ask* ask = ask_of(request.field("x-ask"));
  if (ask == nullptr) return;
  if (request.head.path != ask->path()) fault("another path came: " + request.head.path);
  check_identity(request, *ask);
  if (refuses(backend)) {
    ++ask->refusals;
    return refuse_for_good(request);
  }
  ask->early = ask->kind == Ask::Kind::write && chance(0.1);
  if (!ask->early) return;
  execute(backend, *ask);
  answer(backend, request, *ask);
}

void World::asked(std::size_t backend, test::ScriptedBackend::Request& request) {
  if (request.head.path == "/readyz") return answer_probe(backend, request);
  if (request.head.path == review_path) {
    if (!request.head.fields.contains("x-remote-user")) return request.answer(401);
    return request.answer(201, fmt::format(R"({{"status":{{"userInfo":{{"username":"{}"}}}}}})",
                                           request.field("x-remote-user")));
  }
  Ask* found = ask_of(request.field("x-ask"));
  if (found == nullptr) return request.answer(404);
  Ask& ask = *found;
  if (request.refused) return;
  if (request.body.size() != ask.request_bytes || !is_body_piece(ask.id, 0, request.body)) {
    fault("another body came: " + ask.describe());
  }
  if (ask.early) return;
  if (plan_.backends_fail && chance(0.05)) return request.refuse();
  execute(backend, ask);
  const Duration takes = (chance(0.1) ? up_to(3s) : up_to(100ms)) + lateness(backend);
  schedule_.after(takes, [this, backend, &request, &ask] {
    if (!request.closed && !request.connection->ended()) answer(backend, request, ask);
  });
}

void World::answer(std::size_t backend, test::ScriptedBackend::Request& request, Ask& ask) {
  ask.sent = 0;
  if (plan_.backends_fail) {
    if (chance(0.03)) return request.connection->drop();
    if (chance(0.03)) request.connection->goaway();
    if (chance(0.02)) return outage(backend);
  }
  http::ResponseHead head;
  head.status = 200;
  head.fields.add("x-ask", std::to_string(ask.id));
  if (ask.kind == Ask::Kind::watch) {
    if (returned_[backend] && chance(0.7)) return expire(request, ask);
    request.begin(head);
    return watch_on(backend, request, ask);
  }
  if (chance(0.5)) head.fields.add("content-length", std::to_string(ask.answer_bytes));
  if (chance(0.3)) {
    request.begin(head);
    return go_on(request, ask);
  }
  ask.sent = ask.answer_bytes;
  request.answer(head, body_piece(ask.id, 0, ask.answer_bytes));
}

// Some more of an answer, and later the rest.
void World::go_on(test::ScriptedBackend::Request& request, Ask& ask) {
  const std::size_t bytes = std::min<std::size_t>(ask.answer_bytes - ask.sent, bytes_up_to(50'000));
  request.send(body_piece(ask.id, ask.sent, bytes));
  ask.sent += bytes;
  if (ask.sent == ask.answer_bytes) return request.finish();
  if (plan_.backends_fail && chance(0.01)) return request.connection->drop();
  schedule_.after(up_to(50ms), [this, &request, &ask] {
    if (!request.closed && !request.connection->ended()) go_on(request, ask);
  });
}

// It names no request: what its client sees of it is no piece of an answer.
void World::expire(test::ScriptedBackend::Request& request, Ask& ask) {
  ++ask.expired;
  http::ResponseHead head;
  head.status = 200;
  head.fields.add("content-type", "application/json");
  request.begin(head);
  schedule_.after(up_to(chance(0.8) ? 20ms : 1s), [&request] {
    if (request.closed || request.connection->ended()) return;
    request.send(R"({"type":"ERROR","object":{"kind":"Status","reason":"Expired","code":410}})");
    request.finish();
  });
}

void World::watch_on(std::size_t backend, test::ScriptedBackend::Request& request, Ask& ask) {
  if (life_.at(backend) == Life::ends_watches) return request.finish();
  if (ask.sent >= ask.answer_bytes && chance(0.3)) return request.finish();
  const std::size_t bytes = bytes_up_to(2'000);
  request.send(body_piece(ask.id, ask.sent, bytes));
  ask.sent += bytes;
  schedule_.after(up_to(2s), [this, backend, &request, &ask] {
    if (!request.closed && !request.connection->ended()) watch_on(backend, request, ask);
  });
}

// --- the run -----------------------------------------------------------------------------------

bool World::all_over(bool watches) const {
  return std::ranges::all_of(asks_, [=](const Ask& ask) {
    return ask.outcomes > 0 || (ask.kind == Ask::Kind::watch && !watches);
  });
}

bool World::advance_until(const std::function<bool()>& done, Duration most) {
  constexpr Duration step = 100ms;
  for (Duration passed{}; !done(); passed += step) {
    if (passed > most) return false;
    simulation_.advance(step);
  }
  return true;
}

void World::run() {
  if (!advance_until([this] { return server_->control().may_open(); }, patience)) {
    return fault("the server does not open");
  }
  server_->open(random_.next());
  began_ = simulation_.now();
  for (Ask& ask : asks_) {
    // About the stop; who comes when the listeners are gone finds nobody.
    if (plan_.stops_early && ask.at > plan_.stops_at) ask.at = plan_.stops_at + up_to(8s);
    schedule_.after(ask.at, [this, &ask] { clients_[ask.client]->ask(ask); });
  }
  draw_mishaps();
  simulation_.advance(plan_.stops_early ? plan_.stops_at : asking);
  if (!advance_until([this] { return all_over(false); }, patience)) {
    fault("not everybody has an answer");
  }
  if (!plan_.stops_early) stop();
  if (!advance_until([this] { return server_->control().workers_gone(); }, stop_at_most)) {
    fault("the server does not stop");
  }
  // Who was stalled or did not read finds the end of it now.
  if (!advance_until([this] { return all_over(true); }, patience)) {
    fault("somebody does not learn of the end");
  }
  for (const auto& client : clients_) client->finish();
  simulation_.advance(1s);
}

std::size_t World::count(Ask::Outcome outcome) const {
  return static_cast<std::size_t>(std::ranges::count(asks_, outcome, &Ask::outcome));
}

std::size_t World::expired() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(asks_, [](const Ask& ask) { return ask.expired > 0; }));
}

std::size_t World::seen_expired() const {
  return static_cast<std::size_t>(std::ranges::count_if(asks_, [](const Ask& ask) {
    return ask.expired > 0 && ask.status == 200 && !ask.from_backend;
  }));
}

std::size_t World::moved() const {
  return static_cast<std::size_t>(std::ranges::count_if(asks_, [](const Ask& ask) {
    return ask.refusals > 0 && ask.status == 200 && ask.outcome == Ask::Outcome::answered;
  }));
}

std::string World::summary() const {
  std::size_t executed = 0;
  std::size_t received = 0;
  for (const Ask& ask : asks_) {
    executed += static_cast<std::size_t>(ask.executed);
    received += ask.received;
  }
  std::string text = fmt::format("{} asked", asks_.size());
  for (std::size_t i = 0; i < outcomes; ++i) {
    const auto outcome = static_cast<Ask::Outcome>(i);
    text += fmt::format(" {}={}", to_string(outcome), count(outcome));
  }
  return text + fmt::format(" tunnels={} executed={} bytes={} resets={} ms={}", tunnels(), executed,
                            received, simulation_.network().resets(),
                            simulation_.now().time_since_epoch() / 1ms);
}

}  // namespace sluice::server
