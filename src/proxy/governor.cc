// SPDX-License-Identifier: GPL-3.0-or-later
// How much is refused, and of whom.
#include "governor.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace sluice::proxy {
namespace {

using kubernetes::RequestClass;

// By a tenth of what is still served, and back half as fast: it settles where the queue just moves.
constexpr double more = 0.1;
constexpr double less = 0.05;
// Some of everybody's work is served.
constexpr double shed_max = 0.95;
constexpr double next_to_nothing = 0.01;
// What was caused a second ago counts half.
constexpr double kept_each_window = 0.933;
// Names are made by networks and by credentials that API servers take; more of them than this share
// what is left.
constexpr std::size_t clients_max = 4096;

// How much sooner than others a request goes that costs more, or that comes back by itself.
double weight(RequestClass request_class) {
  switch (request_class) {
    case RequestClass::list:
    case RequestClass::watch_list: return 2;
    case RequestClass::short_read:
    case RequestClass::short_write: return 1;
    case RequestClass::watch:
    case RequestClass::long_running_other:
    case RequestClass::upgrade: return 0.5;
  }
  return 1;
}

}  // namespace

void Governor::judge(std::uint64_t windows, Duration wait) {
  const std::uint64_t passed = windows - seen_;
  seen_ = windows;
  const bool too_long = options_.wait_max > Duration::zero() && wait > options_.wait_max;
  too_long_for_ = too_long ? too_long_for_ + io::TurnLoad::window : Duration::zero();
  if (too_long && (shed_ > 0 || too_long_for_ >= options_.patience)) {
    shed_ = std::min(shed_max, shed_ + more * (1 - shed_));
  } else if (!too_long && shed_ > 0) {
    shed_ -= less * static_cast<double>(passed);
    if (shed_ < next_to_nothing) shed_ = 0;
  }
  watches_ = too_long || shed_ > 0;
  if (!watches_) {
    work_.clear();
    rest_ = 0;
  }
  age(passed);
  find_height();
}

void Governor::age(std::uint64_t windows) {
  const double kept = std::pow(kept_each_window, static_cast<double>(windows));
  rest_ *= kept;
  for (auto& [client, work] : work_) work *= kept;
  std::erase_if(work_, [](const auto& entry) { return entry.second < next_to_nothing; });
}

// Where all work above it is the part that is refused.
void Governor::find_height() {
  height_ = std::numeric_limits<double>::infinity();
  if (shed_ == 0) return;
  std::vector<double> work;
  work.reserve(work_.size() + 1);
  double all = rest_;
  if (rest_ > 0) work.push_back(rest_);
  for (const auto& [client, of_client] : work_) {
    work.push_back(of_client);
    all += of_client;
  }
  std::ranges::sort(work);
  double left = all * (1 - shed_);
  std::size_t clients = work.size();
  for (const double of_client : work) {
    height_ = left / static_cast<double>(clients);
    if (of_client > height_) return;
    left -= of_client;
    --clients;
  }
}

void Governor::charge(std::uint64_t client, double work) {
  if (!watches_) return;
  const auto found = work_.find(client);
  if (found != work_.end()) {
    found->second += work;
  } else if (work_.size() < clients_max) {
    work_.emplace(client, work);
  } else {
    rest_ += work;
  }
}

bool Governor::refuses(std::uint64_t client, RequestClass request_class, Random& random) {
  if (!watches_) return false;
  charge(client, 1);
  if (shed_ == 0) return false;
  const auto found = work_.find(client);
  const double work = found != work_.end() ? found->second : rest_;
  if (work <= height_) return false;
  return random.unit() < weight(request_class) * (1 - height_ / work);
}

}  // namespace sluice::proxy
