// SPDX-License-Identifier: GPL-3.0-or-later
// What the simulated API answers, without any network: discovery, probes, objects, watches.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "authenticator.h"
#include "bodies.h"
#include "request.h"
#include "sluice/base/random.h"
#include "sluice/base/time.h"
#include "status.h"
#include "store.h"

namespace sluice::apisim {

constexpr std::string_view json_content = "application/json";
constexpr std::string_view table_content = "application/json;as=Table;g=meta.k8s.io;v=v1";
constexpr std::string_view text_content = "text/plain; charset=utf-8";

struct Reply {
  int status = 200;
  std::string_view content_type = json_content;
  // Either a whole text, or a body that is made while it is sent.
  std::shared_ptr<const std::string> text;
  std::unique_ptr<Body> body;
  // `body`, when it is a watch's; it ends after `watch_timeout`.
  WatchBody* watch = nullptr;
  Duration watch_timeout{};
  bool bookmarks = false;
  bool watch_list = false;     // it begins with the objects that exist, and says where they end
  bool expired_watch = false;  // `text` is an ERROR event with 410
  std::uint32_t retry_after = 0;

  static Reply of(const StatusError& error);
  static Reply of(std::string text, int status = 200, std::string_view content_type = json_content);
};

// The state of one server that its answers depend on.
struct ServerView {
  Store& store;
  Random& random;
  bool ready = true;
  // Watches from before this revision get 410, as after a restart with an empty watch cache.
  std::uint64_t history_floor = 0;
  double started = 0;     // seconds since 1970
  std::size_t index = 0;  // among the servers
  Duration lag{};         // see Settings
  std::uint32_t minor = 37;
};

struct Call {
  const Request& request;
  std::string_view accept;
  std::string_view content_type;
  std::string_view body;
  const Identity& identity;  // empty when needs_identity() was false
};

bool is_probe(std::string_view path);
// Requests whose answer depends on who asks.
// Of an aggregated API whose server takes nobody.
constexpr std::string_view aggregated_path = "/apis/refusing.example.com";
bool is_aggregated(const Request& request);
// Its query has a `timeout` that is no duration.
bool has_bad_timeout(const Request& request);
bool needs_identity(const Request& request);
// What an anonymous user may not do; nothing when allowed.
std::optional<StatusError> forbid_anonymous(const Request& request);

Reply answer(const ServerView& server, const Call& call);

// Raw objects of exact sizes for benchmarks, which are in no store:
//   /bench/SIZE                                        SIZE bytes
//   /api/v1/namespaces/bench/configmaps/kb-N           an object of N KB (also b-N, mb-N)
//   /api/v1/namespaces/bench-SIZE/configmaps           a list of SIZE bytes
// What is created in these namespaces is answered with 201 and forgotten.
// Nothing when the request is for something else.
std::optional<std::string> bench_text(const Request& request);

}  // namespace sluice::apisim
