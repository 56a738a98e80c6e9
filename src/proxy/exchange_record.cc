// SPDX-License-Identifier: GPL-3.0-or-later
// What is told of one exchange.
#include "exchange_record.h"

#include <fmt/format.h>

#include "sluice/observability/escape.h"

namespace sluice::proxy {

observability::AccessRecord access_record(const ExchangeView& exchange) {
  const auto& [cluster, record, head, plan, attempts, backend, answer, bytes_out, now] = exchange;
  const kubernetes::RequestInfo& info = plan.info;
  return {
      .time = record.wall_started,
      .cluster = cluster,
      .client = record.client,
      .protocol = record.protocol,
      .user = record.user,
      .method = head.method,
      .path = head.path,
      .verb = info.verb,
      .api_group = info.api_group,
      .resource = info.resource,
      .subresource = info.subresource,
      .namespace_name = info.namespace_name,
      .name = info.name,
      .user_agent = head.fields.find("user-agent").value_or(""),
      .audit_id = answer == nullptr ? "" : answer->fields.find("audit-id").value_or(""),
      .status = answer == nullptr ? 0 : answer->status,
      .backend = backend,
      .tries = static_cast<int>(attempts.count()),
      .bytes_in = record.bytes_in,
      .bytes_out = bytes_out,
      .duration = now - record.started,
      .ended_by = record.ended_by,
      .reason = record.reason,
      .watch = info.is_watch(),
  };
}

std::string describe(const ExchangeView& exchange, ExchangeState state, std::size_t pending) {
  constexpr std::size_t name_bytes_max = 256;
  const kubernetes::RequestInfo& info = exchange.plan.info;
  std::string text = "exchange";
  const auto add = [&](std::string_view key, std::string_view value) {
    if (value.empty()) return;
    text += ' ';
    text += key;
    text += '=';
    observability::append_log_value(text, value, name_bytes_max);
  };
  add("state", to_string(state));
  add("class", to_string(exchange.plan.request_class));
  add("verb", info.verb);
  add("resource", info.resource);
  add("subresource", info.subresource);
  add("namespace", info.namespace_name);
  add("name", info.name);
  add("backend", exchange.backend);
  return text + fmt::format(" tries={} age={:.1f}s bytes_in={} bytes_out={} pending={}",
                            exchange.attempts.count(),
                            to_seconds(exchange.now - exchange.record.started),
                            exchange.record.bytes_in, exchange.bytes_out, pending);
}

}  // namespace sluice::proxy
