// SPDX-License-Identifier: GPL-3.0-or-later
// The first event of a watch, looked at before any of it is forwarded: does it say that the server
// has no history back to the resource version that was asked for? That is an event of type ERROR
// whose object is a Status with code 410 (k8s.io/apiserver pkg/storage/cacher/watch_cache.go).
//
// It comes in the form that the client has asked for (k8s.io/apiserver
// pkg/endpoints/handlers/watch.go):
//   application/json                             a JSON object
//   application/vnd.kubernetes.protobuf          a length of 4 bytes, and so much of a WatchEvent,
//                                                whose object is "k8s\0" and an Unknown
//   application/cbor-seq                         a CBOR map
// and may be compressed by gzip. What is odd, or longer than such an event can be, is no such one:
// a wrong "other" costs a list, a wrong "unfinished" time. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/http/message.h"

namespace sluice::kubernetes {

// Of what has come, and of what that inflates to.
inline constexpr std::size_t first_event_bytes_max = 4096;

enum class FirstEvent : std::uint8_t {
  unfinished,  // more of the body may tell
  expired,     // 410
  other,
};

// `body`: all that has come of it.
FirstEvent look_at_first_event(const http::ResponseHead& head, std::string_view body);

// Of zlib.
std::string inflater_version();

}  // namespace sluice::kubernetes
