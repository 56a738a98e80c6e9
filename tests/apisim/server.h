// SPDX-License-Identifier: GPL-3.0-or-later
// One simulated API server: its listener, its connections, its counters, and its life from start
// over drain or death to restart. Lives on the thread of its shard.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "api.h"
#include "authenticator.h"
#include "settings.h"
#include "sluice/base/list.h"
#include "sluice/base/random.h"
#include "sluice/http/message.h"
#include "sluice/io/address.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/net/connection.h"
#include "sluice/net/listener.h"
#include "sluice/net/transport.h"
#include "sluice/tls/context.h"
#include "store.h"

namespace sluice::apisim {

class ClientConnection;

// What requests are counted as.
enum class Subject : std::uint8_t {
  namespaces,
  pods,
  configmaps,
  selfsubjectreviews,
  other_resource,
  probe,
  non_resource,
};
constexpr std::size_t subject_count = 7;
std::string_view to_string(Subject subject);
Subject subject_of(const Request& request);

enum class GoawayCause : std::uint8_t { unauthorized, anonymous, chance, drain, idle };
constexpr std::size_t goaway_cause_count = 5;

struct Counters {
  std::array<std::array<std::uint64_t, subject_count>, verb_count> requests{};
  std::array<std::uint64_t, 600> statuses{};
  std::uint64_t requests_total = 0;
  std::uint64_t lists = 0;        // LISTs, and watches with sendInitialEvents
  std::uint64_t watch_lists = 0;  // the latter alone
  std::uint64_t watches_started = 0;
  std::uint64_t expired_watches = 0;  // answered with 410
  std::array<std::uint64_t, goaway_cause_count> goaways{};
  std::array<std::uint64_t, 4> connections{};  // by PeerFacts::Kind, as established
  std::array<std::uint64_t, 4> requests_by_peer{};
  std::uint64_t faults = 0;
  std::uint64_t streams_reset_by_client = 0;
  std::uint64_t protocol_errors = 0;
  std::uint64_t tunnel_requests = 0;
  std::uint64_t tunnels_opened = 0;
  std::uint64_t tunnels_open = 0;
  std::uint64_t tunnels_ended = 0;       // both directions, in order
  std::uint64_t tunnel_bytes = 0;        // received in them
  std::uint64_t tunnel_body_bytes = 0;   // of requests' own bodies
  std::uint64_t early_tunnel_bytes = 0;  // received before a 101
  std::uint64_t late_tunnel_bytes = 0;   // behind any other answer
  std::uint64_t in_flight_max = 0;
  double in_flight_seconds = 0;  // integral of requests in flight, watches apart
};

// A request that was seen, with its fields; credentials are shown by their digest alone.
struct SeenRequest {
  std::uint64_t number = 0;
  std::int64_t time = 0;  // seconds since 1970
  std::uint64_t connection = 0;
  PeerFacts::Kind peer = PeerFacts::Kind::none;
  std::string user;  // empty when refused
  http::RequestHead head;
  http::Fields trailers;
  int status = 0;  // 0 while there is no answer
};

// What all servers of a process share.
struct Shared {
  Store& store;
  const Authenticator& authenticator;
  std::size_t records_max = 10'000;
};

// Bodies of fixed size, made once for a path.
class BenchTexts {
 public:
  using Text = std::shared_ptr<const std::string>;
  struct Entry {
    Verb verb;
    Subject subject;
    Text text;
    mutable Text gzipped;  // made at first need
  };
  const Entry* find(std::string_view path_and_query) const;
  void add(std::string_view path_and_query, Entry entry);

 private:
  static constexpr std::size_t entries_max = 256;
  static constexpr std::size_t bytes_max = std::size_t{256} << 20;
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  std::unordered_map<std::string, Entry, TextHash, std::equal_to<>> entries_;
  std::size_t bytes_ = 0;
};

struct DrainPlan {
  Duration delay{};         // --shutdown-delay-duration: readyz is red, all else goes on
  bool retry_after = true;  // --shutdown-send-retry-after
  Duration timeout = std::chrono::seconds(60);  // what is open after it is cut
};

class ApiServer {
 public:
  // `descriptor` listens already.
  ApiServer(net::Transport& transport, Shared& shared, BenchTexts& bench,
            std::shared_ptr<const tls::ServerContext> tls, std::size_t index, int descriptor,
            const io::Address& address, const Settings& settings);
  ~ApiServer();

  // Life. drain() ends by itself in `stopped`; kill() is a SIGKILL as the network sees it.
  enum class State : std::uint8_t { serving, delaying, draining, stopped };
  void drain(const DrainPlan& plan);
  void kill();
  // Listens again at the same address. `empty_history`: its watch cache begins now.
  Result<void> restart(bool empty_history);
  // A frozen server accepts connections and bytes, and says nothing.
  void freeze(bool frozen);
  bool joined() const;  // nothing is left of it on the ring

  State state() const { return state_; }
  Settings& settings() { return settings_; }
  void reset_counters();
  std::string counters_json();
  // Newest first.
  std::string requests_json(std::size_t limit, std::string_view containing) const;

  // There may be new events of any resource.
  void wake_watches();

  // For its connections.
  Counters counters;
  std::size_t in_flight = 0;
  std::size_t watches_open = 0;
  http::ResponseHead response_head;  // of the answer being made; its memory is used again
  Shared& shared() { return shared_; }
  BenchTexts& bench() { return bench_; }
  Random& random() { return random_; }
  net::Transport& transport() { return transport_; }
  bool frozen() const { return frozen_; }
  bool chance(double probability) { return probability > 0 && random_.unit() < probability; }
  ServerView view();
  void connection_closed(ClientConnection& connection);
  void count_in_flight(int change);
  // Records a request; returns its number, 0 when nothing is recorded.
  std::uint64_t record(SeenRequest request);
  void record_status(std::uint64_t number, int status);
  void record_trailers(std::uint64_t number, http::Fields&& trailers);
  const DrainPlan& drain_plan() const { return drain_; }
  std::string_view date();

 private:
  void listen(int descriptor);
  void accepted(int descriptor);
  void timer_passed();
  void stop_accepting();
  void look_whether_drained();
  void stop_listener();

  net::Transport& transport_;
  Shared& shared_;
  BenchTexts& bench_;
  std::shared_ptr<const tls::ServerContext> tls_;
  std::size_t index_;
  io::Address address_;
  Settings settings_;
  State state_ = State::serving;
  bool frozen_ = false;
  DrainPlan drain_;
  Instant drain_end_{};
  std::uint64_t history_floor_ = 0;
  double started_;
  Random random_;
  net::AdmissionBudget budget_{1'000'000};
  std::unique_ptr<net::Listener> listener_;
  std::unique_ptr<net::Listener> old_listener_;  // of before a restart, until it has stopped
  net::ContextSelector select_;
  List<ClientConnection> connections_;
  std::size_t open_connections_ = 0;
  std::uint64_t connection_number_ = 0;
  io::Timer timer_;
  Instant in_flight_since_{};
  std::deque<SeenRequest> seen_;
  std::uint64_t seen_number_ = 0;
  std::size_t seen_bytes_ = 0;
  std::int64_t date_second_ = -1;
  std::string date_;
};

}  // namespace sluice::apisim
