// SPDX-License-Identifier: GPL-3.0-or-later
// The two engines of attacks: many scripted connections, and many requests.
#include "strangers.h"

#include <algorithm>
#include <utility>

namespace sluice::attack {
namespace {

// Ahead of the socket; beyond it nothing more is made.
constexpr std::size_t unsent_bytes_max = 64 * 1024;

// So many a second, and a tenth of that at once.
class Pace {
 public:
  explicit Pace(double per_second) : per_second_(per_second), filled_(Clock::now()) {}
  bool take() {
    const Clock::time_point now = Clock::now();
    const std::chrono::duration<double> passed = now - std::exchange(filled_, now);
    left_ = std::min(left_ + passed.count() * per_second_, per_second_ / 10 + 1);
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  double per_second_;
  double left_ = 1;
  Clock::time_point filled_;
};

class Scripted final : public Stranger {
 public:
  Scripted(Field& field, Script script)
      : field_(field), script_(std::move(script)), pace_(script_.opens_per_second) {}

  bool act() override {
    std::erase_if(actors_, [](const auto& actor) { return actor->over; });
    while (actors_.size() < script_.connections && pace_.take()) {
      actors_.push_back(std::make_unique<Actor>(*this, field_.tally.connections++));
    }
    bool busy = false;
    for (const auto& actor : actors_) busy = actor->act() || busy;
    return busy;
  }

 private:
  struct Actor final : public Call::Handler {
    Actor(Scripted& owner, std::uint64_t its_number)
        : script(owner.script_),
          tally(owner.field_.tally),
          number(its_number),
          born(Clock::now()),
          call(owner.field_.loop, script.destination, *this) {
      over = call.ended();
    }
    bool act() {
      const Clock::time_point now = Clock::now();
      if (now - born > script.life) over = true;
      if (over || !call.established() || !script.more || now < next) return false;
      if (call.unsent_bytes() >= unsent_bytes_max) return false;
      const std::size_t before = call.unsent_bytes();
      script.more(call, number, step++);
      tally.bytes += call.unsent_bytes() - before;
      next = now + script.interval;
      call.flush();
      return script.interval == Clock::duration::zero() && call.unsent_bytes() < unsent_bytes_max;
    }
    void on_established() override {
      if (!script.reads) call.stop_reading();
      if (!script.begin) return;
      script.begin(call, number);
      tally.bytes += call.unsent_bytes();
      call.flush();
    }
    void on_plain(Bytes) override {
      if (!script.ends_when_answered) return;
      ++tally.answers;
      over = true;
    }
    void on_end(std::string_view) override {
      ++tally.cut;
      over = true;
    }

    const Script& script;
    Tally& tally;
    const std::uint64_t number;
    const Clock::time_point born;
    Clock::time_point next{};
    std::uint64_t step = 0;
    bool over = false;
    Call call;
  };

  Field& field_;
  const Script script_;
  Pace pace_;
  std::vector<std::unique_ptr<Actor>> actors_;
};

class Asker final : public Stranger, public Client::Handler {
 public:
  Asker(Field& field, Asking asking)
      : field_(field), asking_(std::move(asking)), opens_(200), pace_(asking_.per_second) {}

  bool act() override {
    std::erase_if(clients_, [this](const auto& client) {
      field_.tally.cut += client->ended() ? 1U : 0U;
      return client->ended() || (client->leaving() && client->open() == 0);
    });
    const auto staying =
        std::ranges::count_if(clients_, [](const auto& client) { return !client->leaving(); });
    // Those that leave may have something open for ever.
    for (auto n = static_cast<std::size_t>(staying);
         n < asking_.connections && clients_.size() < 4 * asking_.connections && opens_.take();
         ++n) {
      clients_.push_back(std::make_unique<Client>(field_.loop, asking_.destination, *this));
      ++field_.tally.connections;
    }
    // By turns, so that a pace that is used up does not leave out the last of them.
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      Client& client = *clients_[(first_ + i) % clients_.size()];
      bool asked = false;
      while (client.open() < asking_.at_once && client.can_ask() && pace_.take()) {
        client.ask(asking_.next(field_.tally.requests), field_.tally.requests);
        ++field_.tally.requests;
        asked = true;
      }
      if (asked) client.flush();
    }
    ++first_;
    return false;
  }

 private:
  void on_outcome(std::uint64_t, const Outcome& outcome) override {
    if (!outcome.whole) return;
    ++field_.tally.answers;
    if (outcome.status == 429 || outcome.status == 503) ++field_.tally.refused;
  }

  Field& field_;
  const Asking asking_;
  Pace opens_, pace_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::size_t first_ = 0;
};

}  // namespace

std::unique_ptr<Stranger> follow(Field& field, Script script) {
  return std::make_unique<Scripted>(field, std::move(script));
}

std::unique_ptr<Stranger> keep_asking(Field& field, Asking asking) {
  return std::make_unique<Asker>(field, std::move(asking));
}

}  // namespace sluice::attack
