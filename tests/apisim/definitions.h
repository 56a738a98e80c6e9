// SPDX-License-Identifier: GPL-3.0-or-later
// Groups of custom resources, which all simulated servers share and each gets to know in its own
// time: the server through which one was defined at once, the others when their informers have
// caught up.
//
// Thread: any; one lock inside.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "sluice/base/time.h"

namespace sluice::apisim {

class Definitions {
 public:
  using Clock = std::chrono::steady_clock;

  void define(std::string_view group, std::size_t server, Clock::time_point now);
  // Whether that server, whose informers lag by so much, serves the group.
  bool served(std::string_view group, std::size_t server, Duration lag,
              Clock::time_point now) const;

 private:
  struct Definition {
    std::size_t server = 0;
    Clock::time_point at;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Definition, std::less<>> groups_;
};

}  // namespace sluice::apisim
