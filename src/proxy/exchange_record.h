// SPDX-License-Identifier: GPL-3.0-or-later
// What is told of one exchange, in the access log and to people, collected while it runs.
#pragma once

#include <string>
#include <string_view>

#include "attempts.h"
#include "exchange_state.h"
#include "request_plan.h"
#include "sluice/http/message.h"
#include "sluice/observability/access_log.h"

namespace sluice::proxy {

// Of each text that somebody else chose.
inline constexpr std::size_t told_bytes_max = 1024;
inline constexpr std::size_t told_path_bytes_max = 8 * 1024;

struct ExchangeRecord {
  Instant started{};  // when the request's head was complete
  std::chrono::system_clock::time_point wall_started{};
  std::string client = {};  // address and port
  std::string_view protocol = {};
  std::string user = {};
  std::string reason = {};  // of a local reply, reset or loss
  std::uint64_t bytes_in = 0;
  observability::EndedBy ended_by = observability::EndedBy::completed;

  std::size_t held_bytes() const { return user.capacity() + reason.capacity(); }
};

// One exchange as it is now.
struct ExchangeView {
  std::string_view cluster;  // its name, if it has one
  const ExchangeRecord& record;
  const http::RequestHead& head;
  const RequestPlan& plan;
  const Attempts& attempts;
  std::string_view backend;          // the last one's name; empty: there was none
  const http::ResponseHead* answer;  // null when none was begun
  std::uint64_t bytes_out;
  Instant now;
};

// The result views what `exchange` does.
observability::AccessRecord access_record(const ExchangeView& exchange);

// A line for people. What the client asked for in words that it chose, but not its query or its
// fields: they can carry anything. `pending`: bytes that wait for the client.
std::string describe(const ExchangeView& exchange, ExchangeState state, std::size_t pending);

}  // namespace sluice::proxy
