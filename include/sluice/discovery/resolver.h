// SPDX-License-Identifier: GPL-3.0-or-later
// Asks DNS for all addresses of names, on a thread of its own: nobody who asks ever waits. What a
// resolver does by itself (its hosts file, several servers, TCP behind a truncated answer) is
// c-ares's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/time.h"
#include "sluice/discovery/name_state.h"
#include "sluice/io/address.h"

namespace sluice::discovery {

// After so long a question has failed, whatever comes later.
constexpr Duration dns_deadline = std::chrono::seconds(5);

struct Question {
  std::string name;                  // as it is: no search domain is put behind it
  std::vector<io::Address> servers;  // empty: those of the system, as they are now
  Duration deadline = dns_deadline;
};

class Resolver {
 public:
  // Questions that are asked at the same time; more wait, and their deadlines with them.
  static constexpr std::size_t at_once_max = 64;
  using Answered = std::move_only_function<void(NameAnswer answer)>;

  Resolver();
  ~Resolver();  // joins its thread, which waits for no server
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Any thread. `answered` is called once, on the resolver's thread, or at once when there can be
  // none; never when the resolver ends before.
  void ask(Question question, Answered answered);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Of c-ares.
std::string resolver_version();

}  // namespace sluice::discovery
