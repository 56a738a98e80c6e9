// SPDX-License-Identifier: GPL-3.0-or-later
// What becomes of a world's API servers: they die, are rolled, and are late.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "world.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;

// As API servers say that they end (k8s.io/apiserver pkg/server/filters/with_retry_after.go, if
// that is turned on, else waitgroup.go).
constexpr std::string_view ends_429 = "The apiserver is shutting down, please try again later.\n";
constexpr std::string_view ends_503 =
    R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",)"
    R"("message":"apiserver is shutting down","reason":"ServiceUnavailable","code":503})";

}  // namespace

void World::draw_servers() {
  plan_.rolls = chance(0.25);
  plan_.has_slow = chance(0.25);
  if (!plan_.has_slow) return;
  plan_.slow = random_.below(backends);
  plan_.slow_from = up_to(10s);
  plan_.slow_by = 200ms + up_to(4s);
  plan_.slow_to_probes = chance(0.5);
}

// It dies and comes back, or falls silent before that.
void World::outage(std::size_t number) {
  test::ScriptedBackend& backend = *backends_[number];
  if (std::exchange(out_[number], true)) return;
  const auto die = [this, number, &backend] {
    backend.mute = false;
    backend.stop();
    return_later(number);
  };
  if (chance(0.7)) return die();
  backend.mute = true;
  schedule_.after(up_to(5s), die);
}

void World::return_later(std::size_t number) {
  schedule_.after(up_to(5s) + 1ms, [this, number] {
    backends_[number]->listen();
    out_[number] = false;
    returned_[number] = true;
    life_[number] = Life::serves;
  });
}

// Each when the one before is back.
void World::roll(std::size_t number) {
  if (std::exchange(out_[number], true)) {
    return schedule_.after(1s, [this, number] { roll(number); });
  }
  life_[number] = Life::not_ready;
  schedule_.after(up_to(3s), [this, number] {
    life_[number] = Life::refuses;
    schedule_.after(up_to(2s), [this, number] { end_life(number); });
  });
}

// What runs is served to its end.
void World::end_life(std::size_t number) {
  life_[number] = Life::ends_watches;
  const bool busy = std::ranges::any_of(backends_[number]->requests(), [](const auto* request) {
    return !request->closed && !request->connection->ended();
  });
  if (busy) return schedule_.after(50ms, [this, number] { end_life(number); });
  close_all(number);
}

// Tunnels end with the process.
void World::close_all(std::size_t number) {
  test::ScriptedBackend& backend = *backends_[number];
  backend.refuse();
  for (std::size_t i = 0; i < backend.accepted(); ++i) {
    Http1& connection = backend.connection(i);
    if (connection.ended()) continue;
    if (connection.speaks_http1()) {
      connection.drop();
    } else {
      connection.goaway();
    }
  }
  schedule_.after(up_to(50ms), [this, number, &backend] {
    for (std::size_t i = 0; i < backend.accepted(); ++i) {
      if (!backend.connection(i).ended()) backend.connection(i).close();
    }
    return_later(number);
    schedule_.after(10s, [this, number] {
      if (chance(0.7)) roll((number + 1) % backends);
    });
  });
}

// Behind the head: nothing of it is executed.
void World::refuse_for_good(test::ScriptedBackend::Request& request) {
  request.refused = true;
  const bool tells_all = chance(0.7);
  http::ResponseHead head;
  head.status = tells_all ? 429 : 503;
  head.fields.add("content-type", tells_all ? "text/plain; charset=utf-8" : "application/json");
  head.fields.add("retry-after", tells_all ? "5" : "1");
  request.answer(head, std::string(tells_all ? ends_429 : ends_503));
  if (chance(0.5)) request.connection->goaway();
}

void World::answer_probe(std::size_t backend, test::ScriptedBackend::Request& request) {
  const auto answer = [this, backend, &request] {
    if (request.closed || request.connection->ended()) return;
    const bool ready = life_.at(backend) == Life::serves;
    request.answer(ready ? 200 : 500, ready ? "ok" : "[-]shutdown failed: reason withheld");
  };
  if (!plan_.slow_to_probes || !is_slow(backend)) return answer();
  schedule_.after(lateness(backend), answer);
}

bool World::is_slow(std::size_t backend) const {
  return plan_.has_slow && backend == plan_.slow && began_ != Instant{} &&
         simulation_.now() >= began_ + plan_.slow_from;
}

Duration World::lateness(std::size_t backend) {
  return is_slow(backend) ? random_.between(plan_.slow_by / 2, plan_.slow_by) : Duration::zero();
}

}  // namespace sluice::server
