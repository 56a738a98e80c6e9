// SPDX-License-Identifier: GPL-3.0-or-later
// One long page, of which one line counts.
#include "age_probe.h"

#include <string>
#include <utility>

namespace sluice::backend {
namespace {

// It is gathered and written while others are served.
constexpr Duration timeout = std::chrono::seconds(10);

}  // namespace

void AgeProbe::ask(ProbeConnection& connection, http::RequestHead head, Done done) {
  reader_ = {};
  connection.close_after();
  connection.request(
      std::move(head), {}, timeout,
      [this, done = std::move(done)](const Result<ProbeAnswer>& answer) { done(read(answer)); },
      [this](std::string_view piece) { return reader_.feed(piece); });
}

Result<std::optional<Duration>> AgeProbe::read(const Result<ProbeAnswer>& answer) const {
  if (!answer) return std::unexpected(answer.error());
  if (answer->status >= 500 || answer->status == 429) {
    return fail(ErrorKind::reset, "/metrics answers " + std::to_string(answer->status),
                Side::backend);
  }
  const auto start = reader_.seconds();
  const auto date = parse_http_date(answer->date);
  if (answer->status != 200 || !start || !date) return std::optional<Duration>();
  return process_age(*start, *date);
}

}  // namespace sluice::backend
