// SPDX-License-Identifier: GPL-3.0-or-later
// A whole proxy in a world made of a seed: four clients, control and two workers, three API
// servers, and between them connections that are short, slow, stalled and reset. Everybody asks,
// answers, refuses, leaves and comes back as the seed says, servers are late, or are rolled, and
// some talk through tunnels; in the end the proxy is told to stop.
//
//   World world(seed);
//   world.run();
//   EXPECT_EQ(world.faults(), "");
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ask.h"
#include "client.h"
#include "schedule.h"
#include "scripted_backend.h"
#include "simulation.h"
#include "sluice/base/random.h"
#include "whole_server.h"

namespace sluice::server {

class World {
 public:
  explicit World(std::uint64_t seed);
  ~World();

  void run();
  // What was not as it must be, a line each; empty: nothing.
  std::string faults();
  // What happened, in a line: the same for the same seed.
  std::string summary() const;
  static constexpr std::size_t outcomes = 6;
  std::size_t count(Ask::Outcome outcome) const;
  std::size_t tunnels() const;  // that ended in order
  // Watches that a server without history told so, and those whose client saw that.
  std::size_t expired() const;
  std::size_t seen_expired() const;
  // Requests that a server refused because it ended its life, and that another has served.
  std::size_t moved() const;
  // Where reads and writes were done while one server was late.
  struct Share {
    std::size_t of_slow = 0;
    std::size_t of_all = 0;
  };
  Share slow_share() const { return slow_share_; }

 private:
  static constexpr std::size_t backends = 3;
  static constexpr std::size_t workers = 2;
  static constexpr std::size_t clients = 4;

  // What the seed has drawn.
  struct Plan {
    bool clients_fail = false;   // connections of clients are reset, clients leave
    bool backends_fail = false;  // those of backends are; backends refuse, leave, fall silent
    bool stops_early = false;    // the proxy is told to stop in the middle of it
    Duration stops_at{};
    bool vouches = false;  // client 0 has a certificate; else all have tokens
    std::size_t replay_body_bytes = 0;
    // Servers end as API servers do that are told to, one after the other, and come back.
    bool rolls = false;
    // One is late from then on, by so much at most, and perhaps to probes as well.
    bool has_slow = false;
    std::size_t slow = 0;
    Duration slow_from{};
    Duration slow_by{};
    bool slow_to_probes = false;
  };
  // What an API server goes through that is told to end (k8s.io/apiserver
  // pkg/server/genericapiserver.go): /readyz fails, and it serves on; then it refuses what is new;
  // then its watches end, and when nothing is left it closes its connections.
  enum class Life : std::uint8_t { serves, not_ready, refuses, ends_watches };

  bool chance(double probability) { return random_.unit() < probability; }
  Duration up_to(Duration most) { return random_.between(Duration(1), most); }
  std::size_t bytes_up_to(std::uint32_t most);
  void draw_weather();
  void draw_asks();
  void draw_tunnel(Ask& ask);
  void draw_servers();
  void draw_mishaps();
  ServerOptions server_options();

  void head_came(std::size_t backend, test::ScriptedBackend::Request& request);
  void asked(std::size_t backend, test::ScriptedBackend::Request& request);
  Ask* ask_of(std::string_view number);
  void execute(std::size_t backend, Ask& ask);
  void check_identity(const test::ScriptedBackend::Request& request, const Ask& ask);
  void answer(std::size_t backend, test::ScriptedBackend::Request& request, Ask& ask);
  void go_on(test::ScriptedBackend::Request& request, Ask& ask);
  void expire(test::ScriptedBackend::Request& request, Ask& ask);
  void watch_on(std::size_t backend, test::ScriptedBackend::Request& request, Ask& ask);
  void stop();

  // What becomes of API servers (world_servers.cc).
  void outage(std::size_t backend);
  void return_later(std::size_t backend);
  void roll(std::size_t backend);
  void end_life(std::size_t backend);
  void close_all(std::size_t backend);
  bool refuses(std::size_t backend) const { return life_.at(backend) >= Life::refuses; }
  void refuse_for_good(test::ScriptedBackend::Request& request);
  void answer_probe(std::size_t backend, test::ScriptedBackend::Request& request);
  bool is_slow(std::size_t backend) const;
  Duration lateness(std::size_t backend);

  // A connection of HTTP/1.1 at a backend (world_tunnels.cc).
  using Http1 = test::ScriptedBackend::Connection;
  struct Tunnel {
    Ask* ask = nullptr;
    bool open = false;
    bool ended = false;  // the backend's direction
  };
  void heard(std::size_t backend, Http1& connection);
  bool read_upgrade(std::size_t backend, Http1& connection, Tunnel& tunnel);
  void check_upgrade(std::string_view head, const Http1& connection, const Ask& ask);
  void answer_upgrade(std::size_t backend, Http1& connection);
  void talk(std::size_t backend, Http1& connection);
  void end_tunnel(Http1& connection, Tunnel& tunnel);
  void check_tunnel(const Ask& ask);

  bool all_over(bool watches) const;
  bool advance_until(const std::function<bool()>& done, Duration most);
  void check(const Ask& ask);
  void check_undisturbed(const Ask& ask);
  bool too_large_to_move(const Ask& ask) const;
  bool tunnels_may_break() const { return plan_.backends_fail || plan_.rolls; }
  void wrong(const Ask& ask, std::string_view what);
  void fault(const std::string& what) { faults_ += what + "\n"; }
  void check_nothing_is_left();

  const std::uint64_t seed_;
  Random random_;
  Random key_random_;
  Plan plan_;
  test::Simulation simulation_;
  Schedule schedule_;
  std::vector<std::unique_ptr<test::ScriptedBackend>> backends_;
  std::array<bool, backends> out_{};
  std::array<bool, backends> returned_{};  // without history
  std::array<Life, backends> life_{};
  Instant began_{};
  Share slow_share_;
  bool stopping_ = false;
  std::array<bool, clients> http1_{};  // who speaks it
  std::vector<Ask> asks_;
  std::map<const Http1*, Tunnel> tunnels_;
  std::vector<std::unique_ptr<WorldClient>> clients_;
  std::unique_ptr<WholeServer> server_;
  std::string faults_;
};

}  // namespace sluice::server
