// SPDX-License-Identifier: GPL-3.0-or-later
// Where it shows that several API servers are not one: their caches and informers lag behind what
// was written through another one, and while they are upgraded their versions differ. Which
// requests that concerns, and the answers that tell of it:
//
// - 504, a Status with the cause ResourceVersionTooLarge: its cache has not seen a revision yet
// that
//   the client has (k8s.io/apiserver pkg/storage/errors.go);
// - 404, the text "404 page not found": it has no such group (pkg/util/notfoundhandler);
// - 404, the Status "the server could not find the requested resource": in a group that it has, no
//   such version or resource (pkg/server/handler.go);
// - 429, the Status "storage is (re)initializing": its cache of a resource is not filled yet
//   (pkg/storage/cacher/ready.go).
//
// None of these was executed. What stands behind proxy subresources and aggregated APIs can forge
// them (answering_server.h): the caller asks for their sake, too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/http/message.h"
#include "sluice/kubernetes/request_info.h"

namespace sluice::kubernetes {

// Whether it writes what API servers themselves act by and learn from their informers: custom
// resources, rights, aggregated APIs, webhooks and admission policies; namespaces, and the classes
// that their own admission plugins look up (k8s.io/kubernetes plugin/pkg/admission: priority,
// storage/storageclass, network/defaultingressclass, runtimeclass; k8s.io/pod-security-admission).
bool changes_servers(const RequestInfo& info);

// Whether a server answers it from its cache as that is, however old: resourceVersion "0", and
// watches without one that do not ask for the objects that exist (pkg/storage/cacher/cacher.go
// getWatchCacheResourceVersion).
bool reads_any_version(const RequestInfo& info);

// Discovery, OpenAPI documents and the version: the same from all servers of one version.
bool describes_server(const RequestInfo& info);

enum class ServerLag : std::uint8_t {
  none,
  stale,         // its cache is behind the client
  unknown_path,  // it does not serve that path
  initializing,  // its cache of the resource is not filled
};

// More bytes than the body of such an answer has.
inline constexpr std::size_t lag_answer_bytes_max = 4096;

// Whether the head may begin such an answer. Compressed ones are not looked into.
ServerLag may_tell_lag(const http::ResponseHead& head);
// What the whole answer says; JSON, Protobuf and CBOR.
ServerLag lag_told_by(const http::ResponseHead& head, std::string_view body);

}  // namespace sluice::kubernetes
