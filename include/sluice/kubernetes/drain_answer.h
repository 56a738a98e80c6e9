// SPDX-License-Identifier: GPL-3.0-or-later
// Recognizes the two answers by which an API server that shuts down turns new requests away before
// it has done anything with them (k8s.io/apiserver pkg/server/filters):
//   429, Retry-After: 5, text "The apiserver is shutting down, ..."     (with_retry_after.go)
//   503, Retry-After: 1, Status "apiserver is shutting down"            (waitgroup.go)
// Such a request may be sent to another backend, whatever its method. What stands behind proxy
// subresources can forge both, so they count for nothing more than a replay and a probe, and not at
// all on long-running requests other than watches: those skip flow control, whose fields would
// tell.
#pragma once

#include <cstddef>
#include <string_view>

#include "sluice/http/message.h"
#include "sluice/kubernetes/long_running.h"

namespace sluice::kubernetes {

// More bytes than either answer has: a longer body is none of them.
inline constexpr std::size_t drain_answer_bytes_max = 256;

// Whether the head may begin such an answer: then the body, up to the end or one byte more than
// drain_answer_bytes_max, is needed before anything is forwarded. False at once for every other
// head.
bool may_be_drain_answer(const http::ResponseHead& head, RequestClass request_class);

// Whether the whole answer is one. `body` is complete.
bool is_drain_answer(const http::ResponseHead& head, std::string_view body,
                     RequestClass request_class);

}  // namespace sluice::kubernetes
