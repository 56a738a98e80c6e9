// SPDX-License-Identifier: GPL-3.0-or-later
// What a request means to Kubernetes: method and path become verb, group, resource, subresource,
// namespace and name, exactly as the API server derives them (k8s.io/apiserver
// pkg/endpoints/request/requestinfo.go, with the prefixes api and apis). The path is decoded once
// and never cleaned of `..` or `//`, as the API server does not either. Advisory: it decides
// deadlines, replays and load, and is logged; the path itself is forwarded byte for byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "sluice/base/error.h"

namespace sluice::kubernetes {

// Views into the method and the raw path that were parsed, which must outlive it, or, where an
// escape had to be decoded, into memory of its own. Moving it keeps the views valid.
struct RequestInfo {
  std::string_view path;  // decoded, without the query
  std::string_view
      verb;  // get, list, watch, create, ...; of a non-resource request the method in lower case
  std::string_view api_prefix;  // "api" or "apis", also of some non-resource requests
  std::string_view api_group;   // "" for the core group
  std::string_view api_version;
  std::string_view namespace_name;
  std::string_view resource;
  std::string_view subresource;
  std::string_view name;
  std::string_view field_selector;  // decoded; only of list, watch and deletecollection
  std::string_view label_selector;
  bool is_get = false;  // the method, which the verb does not tell in the deprecated forms
  bool is_resource = false;
  bool path_verb = false;  // the verb came from the deprecated /watch/ or /proxy/ form
  bool malformed =
      false;  // the API server answers an error: the path ends at its verb, or a bad escape

  // Query parameters of lists, watches and logs, for the proxy itself; default values elsewhere.
  // Of a get there is the resource version.
  bool follow = false;  // of the log subresource
  bool has_resource_version_match = false;
  bool allow_watch_bookmarks = false;
  std::optional<bool> send_initial_events;
  std::optional<std::int64_t> timeout_seconds;
  std::int64_t limit = 0;
  std::string_view resource_version;  // decoded
  std::string_view continue_token;    // decoded

  bool is_watch() const { return is_resource && verb == "watch"; }
  bool is_list() const { return is_resource && verb == "list"; }

  // A watch whose stream begins with the objects that exist already: it costs the API server as
  // much as a list (pkg/util/flowcontrol/request/list_work_estimator.go).
  bool has_initial_events() const {
    if (!is_watch()) return false;
    if (send_initial_events) return *send_initial_events;
    return resource_version.empty() || resource_version == "0";
  }

  // A watch whose client goes on by itself when its stream ends, as it does when the time that it
  // asked for is over, and loses nothing by it.
  bool resumes() const {
    return is_watch() && allow_watch_bookmarks && timeout_seconds.has_value();
  }

  // Lets go of what was parsed: keeps copies of names of usual length (k8s.io/apimachinery
  // pkg/api/validation: 253 bytes), and nothing of the query but what is no text.
  void detach();

  std::unique_ptr<char[]> scratch;  // decoded bytes; null when nothing was escaped
};

// Never fails: what the API server could not make sense of comes back with `malformed` set.
RequestInfo parse_request_info(std::string_view method, std::string_view raw_path);

// What must be answered with 400 and never be forwarded: a path that is empty or does not begin
// with a slash; control bytes, spaces, bytes above 0x7e, `#`, `\`; a `%` without two hexadecimal
// digits, and `%00`. Readers disagree about these, and disagreement is an attack. In the query,
// which no server resolves, only control bytes and spaces are refused: the API server drops pairs
// that do not decode, and serves the request.
Result<void> check_path(std::string_view raw_path);

}  // namespace sluice::kubernetes
