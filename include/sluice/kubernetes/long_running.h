// SPDX-License-Identifier: GPL-3.0-or-later
// Which requests may last as long as they like, and what a request is for balancing, for its
// deadline and for the way its stream may end. What is not understood counts as long-running and is
// never sent a second time: a wrong guess must not cut a stream or repeat a write.
#pragma once

#include <cstdint>
#include <string_view>

#include "sluice/kubernetes/request_info.h"

namespace sluice::kubernetes {

enum class RequestClass : std::uint8_t {
  short_read,   // get of one object, discovery, probes
  short_write,  // create, update, patch, delete, deletecollection
  list,
  watch,               // a GET, resumed: from a known resource version
  watch_list,          // a watch that begins with the objects that exist already: it asks for
                       // them, or its resource version is empty or 0
  long_running_other,  // exec, attach, port-forward, log, proxy, profiles, and the unknown
  upgrade,             // whatever asks to switch protocols: not by classify()
};

// The API server's own rule: verbs watch and proxy; subresources attach, exec, proxy, log and
// portforward; /debug/pprof/ (pkg/server/filters/longrunning.go).
bool is_long_running(const RequestInfo& info);

RequestClass classify(const RequestInfo& info);

std::string_view to_string(RequestClass request_class);

// Whether the request deadline applies.
constexpr bool has_deadline(RequestClass request_class) {
  return request_class == RequestClass::short_read || request_class == RequestClass::short_write ||
         request_class == RequestClass::list;
}

// Whether it may be sent to another backend when its connection was lost before the first byte of
// an answer. A list is not: the query that ended one server must not be handed to the next.
constexpr bool may_replay_when_lost(RequestClass request_class) {
  return request_class == RequestClass::short_read || request_class == RequestClass::watch;
}

constexpr bool is_watch(RequestClass request_class) {
  return request_class == RequestClass::watch || request_class == RequestClass::watch_list;
}

}  // namespace sluice::kubernetes
