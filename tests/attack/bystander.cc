// SPDX-License-Identifier: GPL-3.0-or-later
// Honest clients: reads by certificate and by token, newcomers whose tokens nobody has seen,
// uploads, and watches. Each group asks by a fixed schedule, whether earlier requests have been
// answered or not, and a request's time begins when it was due: waiting is never hidden. One group
// asks an API server itself, to tell what is its delay and what is the proxy's. Says
// "ready" when all are connected and known to the proxy, begins when a line comes in, and prints
// what it saw as one line of JSON.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <iostream>
#include <map>
#include <optional>
#include <vector>

#include <CLI/CLI.hpp>

#include "client.h"
#include "credentials.h"

namespace sluice::attack {
namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr std::string_view object_path = "/api/v1/namespaces/bench/configmaps/kb-1";
constexpr std::string_view watch_path =
    "/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=0";
constexpr std::string_view upload_path = "/api/v1/namespaces/default/configmaps";
constexpr std::size_t upload_bytes = 100'000;
constexpr std::size_t watches_count = 10;
// An answer that takes as long as this is a failure.
constexpr auto answer_patience = 10s;
// Between two connections of one seat, as clients back off.
constexpr auto reconnect_interval = 100ms;

struct Options {
  std::string target;
  std::string direct;
  std::string certificates;
  std::string neighbour = "127.0.0.3";
  double seconds = 5;
  double rate = 1;
  bool tokens_only = false;
};

// Who asks how often, from where, over how many connections.
struct Group {
  enum class Kind : std::uint8_t { read, newcomer, upload, direct };
  std::string name;
  Kind kind = Kind::read;
  std::string source;
  std::shared_ptr<const tls::ClientContext> tls;
  std::string token;
  std::size_t connections = 1;
  double per_second = 1;

  // As it goes.
  std::uint64_t due_count = 0;
  std::vector<Milliseconds> times = {};
  std::map<std::string, std::size_t> failures = {};
  std::size_t failed() const {
    std::size_t sum = 0;
    for (const auto& [why, count] : failures) sum += count;
    return sum;
  }
};

std::string_view to_string(Group::Kind kind) {
  switch (kind) {
    case Group::Kind::read: return "read";
    case Group::Kind::newcomer: return "newcomer";
    case Group::Kind::upload: return "upload";
    case Group::Kind::direct: return "direct";
  }
  return "unknown";
}

struct Job {
  Group* group = nullptr;  // null: a watch, or a question before it all begins
  Clock::time_point due{};
  Request request;
  std::size_t watch = 0;
};

// One connection's worth of a group, renewed when the proxy tells it to go.
class Seat final : public Client::Handler {
 public:
  // How a request went, and for a watch that something came.
  struct Judge {
    virtual ~Judge() = default;
    virtual void on_answer(const Job& job, const Outcome& outcome) = 0;
    virtual void on_event(const Job& job, bool head) = 0;
  };
  Seat(Loop& loop, Destination destination, Judge& judge)
      : loop_(loop), destination_(std::move(destination)), judge_(judge) {}

  void put(Job job) { waiting_.push_back(std::move(job)); }
  // Outside of the loop's turn.
  void act() {
    std::erase_if(left_, [](const auto& client) { return client->ended() || client->open() == 0; });
    if (client_ != nullptr && client_->leaving()) left_.push_back(std::move(client_));
    if (client_ == nullptr) {
      if (waiting_.empty() && connects_ > 0) return;
      if (Clock::now() < not_before_) return;
      client_ = std::make_unique<Client>(loop_, destination_, *this);
      not_before_ = Clock::now() + reconnect_interval;
      ++connects_;
    }
    bool asked = false;
    for (; !waiting_.empty() && client_->can_ask(); waiting_.pop_front()) {
      client_->ask(waiting_.front().request, next_);
      jobs_.emplace(next_++, std::move(waiting_.front()));
      asked = true;
    }
    if (asked) client_->flush();
  }
  bool idle() const { return jobs_.empty() && waiting_.empty(); }
  bool ready() const { return client_ != nullptr && client_->can_ask(); }
  std::size_t connects() const { return connects_; }
  // What never was answered.
  void give_up_on_all(std::string_view why) {
    for (const auto& [tag, job] : jobs_) judge_.on_answer(job, {.why = std::string(why)});
    for (const Job& job : waiting_) {
      judge_.on_answer(job, {.why = fmt::format("{}, not even asked", why)});
    }
    jobs_.clear();
    waiting_.clear();
  }

 private:
  void on_outcome(std::uint64_t tag, const Outcome& outcome) override {
    const auto found = jobs_.find(tag);
    if (found == jobs_.end()) return;
    Job job = std::move(found->second);
    jobs_.erase(found);
    if (outcome.not_executed) {
      waiting_.push_back(std::move(job));
    } else {
      judge_.on_answer(job, outcome);
    }
  }
  void on_head(std::uint64_t tag, int) override { tell(tag, true); }
  void on_bytes(std::uint64_t tag) override { tell(tag, false); }
  void tell(std::uint64_t tag, bool head) {
    const auto found = jobs_.find(tag);
    if (found != jobs_.end() && found->second.group == nullptr) {
      judge_.on_event(found->second, head);
    }
  }

  Loop& loop_;
  const Destination destination_;
  Judge& judge_;
  std::unique_ptr<Client> client_;
  std::vector<std::unique_ptr<Client>> left_;
  std::deque<Job> waiting_;
  std::map<std::uint64_t, Job> jobs_;
  std::uint64_t next_ = 1;
  std::size_t connects_ = 0;
  Clock::time_point not_before_{};
};

Milliseconds percentile(std::vector<Milliseconds>& sorted, std::size_t of_hundred) {
  return sorted.empty() ? Milliseconds{} : sorted[(sorted.size() - 1) * of_hundred / 100];
}

class Bystanders final : public Seat::Judge {
 public:
  explicit Bystanders(const Options& options)
      : options_(options), credentials_(options.certificates, options.tokens_only) {
    make_groups();
  }

  int run() {
    become_known();
    fmt::print("ready\n");
    std::fflush(stdout);
    std::string line;
    std::getline(std::cin, line);
    measure();
    print();
    return 0;
  }

 private:
  struct Watch {
    bool ended = false;
    std::string why;
    bool begun = false;
    std::size_t events = 0;
    Clock::time_point last{};
    Milliseconds gap{};
  };

  void add(Group group) {
    group.per_second *= options_.rate;
    groups_.push_back(std::move(group));
  }
  void make_groups() {
    const std::string elsewhere = "127.0.0.2";
    const auto nobody = credentials_.nobody();
    using enum Group::Kind;
    add({"certificate", read, elsewhere, credentials_.certificate("alice"),
         credentials_.instead("alice"), 2, 60});
    add({"token", read, elsewhere, nobody, "token-honest", 2, 60});
    add({"certificate behind the attacker's address", read, options_.neighbour,
         credentials_.certificate("bob"), credentials_.instead("bob"), 1, 20});
    add({"token behind the attacker's address", read, options_.neighbour, nobody, "token-neighbour",
         1, 20});
    add({"certificate of the attacker's user", read, elsewhere, credentials_.certificate("mallory"),
         credentials_.instead("mallory"), 1, 10});
    add({"the attacker's token", read, elsewhere, nobody, "token-mallory", 1, 10});
    add({"200 connections of one token", read, elsewhere, nobody, "token-daemonset", 200, 20});
    add({"new token", newcomer, elsewhere, nobody, "fresh", 0, 2});
    add({"new token behind the attacker's address", newcomer, options_.neighbour, nobody, "fresh",
         0, 2});
    add({"upload of 100 KB", upload, elsewhere, credentials_.certificate("alice"),
         credentials_.instead("alice"), 1, 2});
    if (!options_.direct.empty()) {
      add({"direct", direct, elsewhere, credentials_.direct(), "token-honest", 1, 50});
    }
    for (Group& group : groups_) {
      auto& seats = seats_[&group];
      for (std::size_t i = 0; i < group.connections; ++i) {
        seats.push_back(std::make_unique<Seat>(loop_, destination(group), *this));
      }
    }
    watcher_ = std::make_unique<Seat>(
        loop_, Destination{address(options_.target), elsewhere, credentials_.certificate("alice")},
        *this);
  }
  static io::Address address(const std::string& text) {
    const auto parsed = io::Address::parse(text);
    if (!parsed) give_up(parsed.error().context);
    return *parsed;
  }
  Destination destination(const Group& group) const {
    const bool direct = group.kind == Group::Kind::direct;
    return {address(direct ? options_.direct : options_.target), group.source, group.tls};
  }

  // --- before ---

  // Each connection has been answered once, and the watches have begun.
  void become_known() {
    known_wanted_ = 0;
    for (Group& group : groups_) {
      for (const auto& seat : seats_[&group]) {
        seat->put({nullptr, {}, {.path = std::string(object_path), .token = group.token}, 0});
        ++known_wanted_;
      }
    }
    watches_.resize(watches_count);
    for (std::size_t i = 0; i < watches_count; ++i) {
      watcher_->put({nullptr,
                     {},
                     {.path = std::string(watch_path), .token = credentials_.instead("alice")},
                     i + 1});
    }
    const auto begun = [this] {
      return std::ranges::all_of(watches_, [](const Watch& watch) { return watch.begun; });
    };
    const Clock::time_point deadline = Clock::now() + 30s;
    while (known_ < known_wanted_ || !begun()) {
      if (Clock::now() > deadline) give_up("not all were served before anything happened");
      turn(Clock::now() + 1ms);
    }
  }

  // --- meanwhile ---

  void measure() {
    const Clock::time_point began = Clock::now();
    for (Watch& watch : watches_) {
      watch.last = began;
      watch.gap = {};
      watch.events = 0;
    }
    measuring_ = true;
    const Clock::time_point end = began + std::chrono::duration_cast<Clock::duration>(
                                              std::chrono::duration<double>(options_.seconds));
    while (Clock::now() < end) turn(std::min(end, put_what_is_due(began)));
    for (Watch& watch : watches_) note_gap(watch, Clock::now());
    const Clock::time_point patience = Clock::now() + answer_patience;
    while (!all_answered() && Clock::now() < patience) turn(Clock::now() + 1ms);
    for (auto& [group, seats] : seats_) {
      for (const auto& seat : seats) seat->give_up_on_all("no answer");
    }
  }
  bool all_answered() const {
    return std::ranges::all_of(seats_, [](const auto& each) {
      return std::ranges::all_of(each.second, [](const auto& seat) { return seat->idle(); });
    });
  }

  // The instant at which something is due next.
  Clock::time_point put_what_is_due(Clock::time_point began) {
    Clock::time_point next = Clock::time_point::max();
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      Group& group = groups_[i];
      const auto due = [&] {
        // No two groups at once.
        const double at = (static_cast<double>(group.due_count) +
                           static_cast<double>(i) / static_cast<double>(groups_.size())) /
                          group.per_second;
        return began +
               std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(at));
      };
      for (; due() <= Clock::now(); ++group.due_count) begin(group, due());
      next = std::min(next, due());
    }
    return next;
  }
  void begin(Group& group, Clock::time_point due) {
    Job job{&group, due, {.path = std::string(object_path), .token = group.token}, 0};
    auto& seats = seats_[&group];
    switch (group.kind) {
      case Group::Kind::read:
      case Group::Kind::direct: break;
      case Group::Kind::newcomer:
        job.request.token = fmt::format("fresh-{}", fresh_++);
        seats.push_back(std::make_unique<Seat>(loop_, destination(group), *this));
        seats.back()->put(std::move(job));
        return;
      case Group::Kind::upload:
        job.request.method = "POST";
        job.request.path = upload_path;
        job.request.body = fmt::format(R"({{"metadata":{{"name":"by-{}"}},"data":{{"x":"{}"}}}})",
                                       group.due_count, std::string(upload_bytes, 'x'));
        break;
    }
    seats[group.due_count % seats.size()]->put(std::move(job));
  }

  void turn(Clock::time_point until) {
    for (auto& [group, seats] : seats_) {
      // Newcomers go when they have been answered.
      if (group->kind == Group::Kind::newcomer) {
        std::erase_if(seats, [](const auto& seat) { return seat->idle(); });
      }
      for (const auto& seat : seats) seat->act();
    }
    watcher_->act();
    loop_.turn(until);
  }

  void on_answer(const Job& job, const Outcome& outcome) override {
    if (job.watch > 0) {
      Watch& watch = watches_[job.watch - 1];
      watch.ended = true;
      watch.why = outcome.whole ? fmt::format("status {}", outcome.status) : outcome.why;
      if (!measuring_) give_up("a watch ended before anything happened: " + watch.why);
      return;
    }
    if (job.group == nullptr) {
      if (!outcome.good()) {
        give_up(
            fmt::format("not served before anything happened: {} {}", outcome.status, outcome.why));
      }
      ++known_;
      return;
    }
    if (!outcome.good()) {
      ++job.group->failures[outcome.whole ? fmt::format("status {}", outcome.status) : outcome.why];
      return;
    }
    const Milliseconds time = Clock::now() - job.due;
    job.group->times.push_back(time);
    if (time > answer_patience) ++job.group->failures["late"];
  }
  void on_event(const Job& job, bool head) override {
    if (job.watch == 0) return;
    Watch& watch = watches_[job.watch - 1];
    watch.begun = true;
    if (head) return;
    ++watch.events;
    note_gap(watch, Clock::now());
  }
  static void note_gap(Watch& watch, Clock::time_point now) {
    if (!watch.ended) watch.gap = std::max<Milliseconds>(watch.gap, now - watch.last);
    watch.last = now;
  }

  // --- after ---

  void print() {
    std::string groups;
    std::vector<Milliseconds> reads;
    std::size_t failed = 0, count = 0;
    Milliseconds newest{}, direct{};
    for (Group& group : groups_) {
      std::ranges::sort(group.times);
      if (group.kind == Group::Kind::read) {
        reads.insert(reads.end(), group.times.begin(), group.times.end());
      }
      if (group.kind == Group::Kind::newcomer && !group.times.empty()) {
        newest = std::max(newest, group.times.back());
      }
      if (group.kind == Group::Kind::direct) {
        direct = percentile(group.times, 99);
      } else {
        failed += group.failed();
        count += group.due_count;
      }
      groups += fmt::format(
          R"({}{{"name":"{}","kind":"{}","count":{},"failed":{},"reasons":{{{}}},"p50_ms":{:.2f},"p99_ms":{:.2f},"max_ms":{:.2f}}})",
          groups.empty() ? "" : ",", group.name, to_string(group.kind), group.due_count,
          group.failed(), reasons(group), percentile(group.times, 50).count(),
          percentile(group.times, 99).count(), percentile(group.times, 100).count());
    }
    std::ranges::sort(reads);
    std::size_t ended = 0, events = 0;
    Milliseconds gap{};
    std::string why;
    for (const Watch& watch : watches_) {
      ended += watch.ended ? 1U : 0U;
      events += watch.events;
      gap = std::max(gap, watch.gap);
      if (watch.ended) why = watch.why;
    }
    std::size_t again = 0;
    for (const auto& [group, seats] : seats_) {
      if (group->kind == Group::Kind::newcomer) continue;
      for (const auto& seat : seats) again += seat->connects() - 1;
    }
    fmt::print(
        R"({{"count":{},"failed":{},"p50_ms":{:.2f},"p99_ms":{:.2f},"max_ms":{:.2f},"direct_p99_ms":{:.2f},"new_token_max_ms":{:.1f},"reconnects":{},"watches":{{"opened":{},"ended":{},"why":"{}","events":{},"gap_max_ms":{:.0f}}},"groups":[{}]}})"
        "\n",
        count, failed, percentile(reads, 50).count(), percentile(reads, 99).count(),
        percentile(reads, 100).count(), direct.count(), newest.count(), again, watches_.size(),
        ended, plain(why), events, gap.count(), groups);
  }
  static std::string reasons(const Group& group) {
    std::string all;
    for (const auto& [why, times] : group.failures) {
      all += fmt::format(R"({}"{}":{})", all.empty() ? "" : ",", plain(why), times);
    }
    return all;
  }
  // Nothing that JSON would have to escape.
  static std::string plain(std::string text) {
    std::ranges::replace_if(text, [](char c) { return c == '"' || c == '\\' || c < ' '; }, '_');
    return text;
  }

  const Options options_;
  const Credentials credentials_;
  Loop loop_;
  std::deque<Group> groups_;
  std::map<Group*, std::vector<std::unique_ptr<Seat>>> seats_;
  std::unique_ptr<Seat> watcher_;
  std::vector<Watch> watches_;
  std::size_t known_ = 0, known_wanted_ = 0;
  std::size_t fresh_ = 0;
  bool measuring_ = false;
};

}  // namespace
}  // namespace sluice::attack

int main(int argc, char** argv) {
  using namespace sluice::attack;
  Options options;
  CLI::App app("Honest clients beside an attack; see tests/attack/run.");
  app.add_option("--target", options.target, "The proxy, ADDR:PORT")->required();
  app.add_option("--direct", options.direct, "An API server, ADDR:PORT");
  app.add_option("--certificates", options.certificates, "As apisim makes them")->required();
  app.add_option("--neighbour", options.neighbour, "The attacker's address");
  app.add_option("--seconds", options.seconds, "How long");
  app.add_option("--rate", options.rate, "Times the usual requests per second");
  app.add_flag("--tokens-only", options.tokens_only, "Tokens in place of certificates");
  CLI11_PARSE(app, argc, argv);
  return Bystanders(options).run();
}
