// SPDX-License-Identifier: GPL-3.0-or-later
// What completions mean.
#include "completion_rules.h"

#include <algorithm>
#include <cerrno>

namespace sluice::io {
namespace {

bool is_transient(std::int32_t result) { return result == -EAGAIN || result == -EINTR; }

// accept(2): errors of the connection that was about to be accepted, to be treated like EAGAIN.
bool is_transient_for_accept(std::int32_t result) {
  switch (-result) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH: return true;
    default: return false;
  }
}

}  // namespace

Verdict judge(OperationKind kind, std::int32_t result, bool more, bool cancel_requested) {
  if (more) return Verdict::deliver;
  if (cancel_requested) return Verdict::deliver_last;
  switch (kind) {
    case OperationKind::accept:
      // Without MORE, the completion queue was full: the descriptor is good all the same.
      if (result >= 0) return Verdict::deliver_and_rearm;
      return is_transient_for_accept(result) ? Verdict::rearm : Verdict::deliver_last;
    case OperationKind::receive:
      if (result > 0) return Verdict::deliver_and_rearm;
      if (result == 0) return Verdict::deliver_last;
      // Data and the end of the stream alike are reported as ENOBUFS while no buffer is free.
      if (result == -ENOBUFS) return Verdict::starved;
      return is_transient(result) ? Verdict::rearm : Verdict::deliver_last;
    case OperationKind::receive_once:
      if (result == -ENOBUFS) return Verdict::starved;
      return is_transient(result) ? Verdict::rearm : Verdict::deliver_last;
    case OperationKind::poll:
      if (result >= 0) return Verdict::deliver_and_rearm;
      return is_transient(result) ? Verdict::rearm : Verdict::deliver_last;
    case OperationKind::send: return is_transient(result) ? Verdict::rearm : Verdict::deliver_last;
    case OperationKind::connect:
    case OperationKind::cancel:
    case OperationKind::none: break;
  }
  return Verdict::deliver_last;
}

std::int32_t result_after_cancel(std::int32_t result) {
  switch (-result) {
    case ENOBUFS:
    case ENOENT:
    case EAGAIN:
    case EINTR:
    case EALREADY: return -ECANCELED;
    default: return result;
  }
}

std::optional<Duration> pause_after_refusal(int refusals) {
  // Full queues empty themselves while completions are gathered.
  constexpr int at_once = 16;
  constexpr int doublings = 7;
  constexpr int at_longest = 234;
  if (refusals < at_once) return Duration::zero();
  if (refusals >= at_once + doublings + at_longest) return std::nullopt;
  return std::chrono::milliseconds(1) * (1 << std::min(refusals - at_once, doublings));
}

}  // namespace sluice::io
