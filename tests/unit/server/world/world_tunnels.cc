// SPDX-License-Identifier: GPL-3.0-or-later
// Tunnels of a world, as its API servers see them: what is asked, which bytes come, and who ends.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "world.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;

constexpr int switching_protocols = 101;

bool has_line(std::string_view head, std::string_view line) {
  return head.contains(fmt::format("\r\n{}\r\n", line));
}

std::string_view value_of(std::string_view head, std::string_view name) {
  const std::string begin = fmt::format("\r\n{}: ", name);
  const std::size_t at = head.find(begin);
  if (at == std::string_view::npos) return {};
  const std::string_view value = head.substr(at + begin.size());
  return value.substr(0, value.find("\r\n"));
}

}  // namespace

void World::heard(std::size_t backend, Http1& connection) {
  Tunnel& tunnel = tunnels_[&connection];
  if (tunnel.ask == nullptr && !read_upgrade(backend, connection, tunnel)) return;
  Ask& ask = *tunnel.ask;
  if (!tunnel.open && !connection.heard.empty()) wrong(ask, "bytes without a tunnel");
  if (!is_body_piece(ask.body_up(), ask.heard, connection.heard)) {
    wrong(ask, "others' bytes in a tunnel");
  }
  ask.heard += connection.heard.size();
  connection.heard.clear();
  if (!connection.peer_end) return;
  if (!tunnel.open) return connection.close();
  ask.heard_end = *connection.peer_end;
  ask.at_stop = stopping_;
  end_tunnel(connection, tunnel);
}

bool World::read_upgrade(std::size_t backend, Http1& connection, Tunnel& tunnel) {
  const std::size_t end = connection.heard.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  const std::string head = connection.heard.substr(0, end + 2);
  connection.heard.erase(0, end + 4);
  tunnel.ask = ask_of(value_of(head, "x-ask"));
  if (tunnel.ask == nullptr) {
    fault("nobody asked for a tunnel: " + head);
    connection.drop();
    return false;
  }
  check_upgrade(head, connection, *tunnel.ask);
  if (refuses(backend)) {
    ++tunnel.ask->refusals;
    connection.say("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nConnection: close\r\n\r\n");
    connection.end_output();
    return false;
  }
  execute(backend, *tunnel.ask);
  if (plan_.backends_fail && chance(0.05)) {
    connection.drop();
    return false;
  }
  schedule_.after(up_to(100ms), [this, backend, &connection] {
    if (!connection.ended()) answer_upgrade(backend, connection);
  });
  return true;
}

void World::check_upgrade(std::string_view head, const Http1& connection, const Ask& ask) {
  if (!head.starts_with(fmt::format("POST {} HTTP/1.1\r\n", ask.path()))) {
    wrong(ask, "another path came");
  }
  const bool vouched = connection.with_certificate();
  const std::string group = ask.user.empty() ? "" : "team";
  if (vouched != !ask.user.empty() || value_of(head, "x-remote-user") != ask.user ||
      value_of(head, "x-remote-group") != group || head.contains("admin") ||
      head.contains("system:masters") || has_line(head, "authorization: Bearer x") == vouched) {
    wrong(ask, fmt::format("asked as '{}'", value_of(head, "x-remote-user")));
  }
}

void World::answer_upgrade(std::size_t backend, Http1& connection) {
  Tunnel& tunnel = tunnels_[&connection];
  Ask& ask = *tunnel.ask;
  if (chance(0.1)) {
    ask.sent = ask.answer_bytes;
    connection.say(fmt::format("HTTP/1.1 403 Forbidden\r\nX-Ask: {}\r\nContent-Length: {}\r\n\r\n",
                               ask.id, ask.answer_bytes));
    return connection.say(body_piece(ask.id, 0, ask.answer_bytes));
  }
  tunnel.open = true;
  connection.say(
      fmt::format("HTTP/1.1 {} Switching Protocols\r\nConnection: Upgrade\r\n"
                  "Upgrade: {}\r\nX-Ask: {}\r\n\r\n",
                  switching_protocols, tunnel_protocol, ask.id));
  talk(backend, connection);
}

// Some more of what goes down, and later the rest.
void World::talk(std::size_t backend, Http1& connection) {
  Tunnel& tunnel = tunnels_[&connection];
  Ask& ask = *tunnel.ask;
  const std::size_t bytes = std::min<std::size_t>(ask.answer_bytes - ask.sent, bytes_up_to(50'000));
  connection.say(body_piece(ask.id, ask.sent, bytes));
  ask.sent += bytes;
  if (plan_.backends_fail) {
    if (chance(0.01)) return connection.drop();
    if (chance(0.01)) return outage(backend);
  }
  if (ask.sent == ask.answer_bytes) return end_tunnel(connection, tunnel);
  schedule_.after(up_to(50ms), [this, backend, &connection] {
    if (!connection.ended()) talk(backend, connection);
  });
}

void World::end_tunnel(Http1& connection, Tunnel& tunnel) {
  const bool may_end = tunnel.ask->backend_may_end || connection.peer_end;
  if (tunnel.ask->sent == tunnel.ask->answer_bytes && may_end &&
      !std::exchange(tunnel.ended, true)) {
    connection.end_output(!tunnel.ask->backend_cuts);
  }
}

void World::check_tunnel(const Ask& ask) {
  if (ask.heard > ask.request_bytes) wrong(ask, "more came than was said");
  const bool all_said = ask.said_all && ask.heard == ask.request_bytes;
  // The proxy's own stop ends tunnels in order.
  if (ask.heard_end && !all_said && !ask.at_stop) wrong(ask, "an end that nobody has said");
  const bool whole = ask.outcome == Ask::Outcome::answered && ask.status == switching_protocols;
  if (whole && ask.backend_cuts && !plan_.stops_early) wrong(ask, "a cut that is heard as an end");
  if (whole && !plan_.clients_fail && !tunnels_may_break() && !plan_.stops_early &&
      ask.heard_end != !ask.client_cuts) {
    wrong(ask, "another end than was said");
  }
  if (whole && !plan_.clients_fail && !tunnels_may_break() && !plan_.stops_early &&
      ask.heard != ask.request_bytes) {
    wrong(ask, "not all came through a tunnel");
  }
}

std::size_t World::tunnels() const {
  return static_cast<std::size_t>(std::ranges::count_if(asks_, [](const Ask& ask) {
    return ask.status == switching_protocols && ask.outcome == Ask::Outcome::answered;
  }));
}

}  // namespace sluice::server
