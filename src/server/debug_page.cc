// SPDX-License-Identifier: GPL-3.0-or-later
// Asking workers, and putting their answers together.
#include "debug_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "worker.h"

namespace sluice::server {
namespace {

constexpr Duration answer_within = std::chrono::seconds(1);

std::string describe(const io::TurnState& turn, Instant now) {
  return fmt::format("step={} descriptor={} away={:.1f}s", to_string(turn.step), turn.descriptor,
                     to_seconds(now - turn.began));
}

}  // namespace

DebugPage::DebugPage(io::Reactor& reactor)
    : reactor_(reactor), deadline_(io::Timer::bind<&DebugPage::finish>(this)) {}

void DebugPage::set_workers(const std::vector<WorkerPort*>& workers) {
  for (WorkerPort* worker : workers) workers_.emplace_back().worker = worker;
}

void DebugPage::ask(Answer answer) {
  answers_.push_back(std::move(answer));
  if (answers_.size() > 1) return;
  for (std::size_t i = 0; i < workers_.size(); ++i) ask_worker(i);
  reactor_.timers().set(deadline_, reactor_.now(), answer_within);
  if (complete()) finish();
}

void DebugPage::ask_worker(std::size_t number) {
  Asked& asked = workers_[number];
  asked.said.reset();
  // A worker that is stuck must not find a heap of questions when it comes back.
  if (asked.waiting || asked.worker->stopped()) return;
  asked.waiting = true;
  asked.worker->post([this, number, bytes_max = page_bytes_max / workers_.size()](Worker& worker) {
    reactor_.mailbox().post([this, number, text = worker.describe(bytes_max)]() mutable {
      told(number, std::move(text));
    });
  });
}

void DebugPage::told(std::size_t number, std::string text) {
  workers_[number].waiting = false;
  workers_[number].said = std::move(text);
  if (!answers_.empty() && complete()) finish();
}

bool DebugPage::complete() const {
  return std::ranges::all_of(
      workers_, [](const Asked& asked) { return asked.said || asked.worker->stopped(); });
}

void DebugPage::finish() {
  deadline_.cancel();
  const std::string text = answers_.empty() ? std::string() : page();
  for (Answer& answer : std::exchange(answers_, {})) answer(text);
}

std::string DebugPage::page() const {
  if (workers_.empty()) return "no worker has started\n";
  std::string page;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    page += workers_[i].said ? *workers_[i].said : silent_worker(i);
  }
  return page;
}

std::string DebugPage::silent_worker(std::size_t number) const {
  const WorkerPort& worker = *workers_[number].worker;
  const std::optional<io::TurnState> turn = worker.turn();
  if (worker.stopped() || !turn) return fmt::format("worker {} stopped\n", number);
  return fmt::format("worker {} STUCK: no answer; {}\n", number, describe(*turn, reactor_.now()));
}

}  // namespace sluice::server
