// SPDX-License-Identifier: GPL-3.0-or-later
// Answers of the simulated API.
#include "api.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>

#include "json.h"
#include "protobuf.h"
#include "settings.h"

namespace sluice::apisim {

namespace {

constexpr std::string_view server_version = R"({{
  "major": "1",
  "minor": "{0}",
  "gitVersion": "v1.{0}.2",
  "gitCommit": "0000000000000000000000000000000000000000",
  "gitTreeState": "clean",
  "buildDate": "2026-10-20T00:00:00Z",
  "goVersion": "go1.26.0",
  "compiler": "gc",
  "platform": "linux/amd64"
}})";

constexpr std::string_view core_versions =
    R"({"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]})";

constexpr std::string_view authentication_group =
    R"("name":"authentication.k8s.io","versions":[{"groupVersion":"authentication.k8s.io/v1","version":"v1"}],)"
    R"("preferredVersion":{"groupVersion":"authentication.k8s.io/v1","version":"v1"}})";

constexpr std::string_view new_group_entry =
    R"(,{"name":"resource.k8s.io","versions":[{"groupVersion":"resource.k8s.io/v1","version":"v1"}],)"
    R"("preferredVersion":{"groupVersion":"resource.k8s.io/v1","version":"v1"}})";

constexpr std::string_view authentication_resources =
    R"({"kind":"APIResourceList","apiVersion":"v1","groupVersion":"authentication.k8s.io/v1","resources":[)"
    R"({"name":"selfsubjectreviews","singularName":"","namespaced":false,"kind":"SelfSubjectReview","verbs":["create"]}]})";

std::string core_resources() {
  std::string out =
      R"({"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[)";
  for (std::size_t i = 0; i < resource_count; ++i) {
    const ResourceType& type = type_of(static_cast<Resource>(i));
    if (i > 0) out.push_back(',');
    out += fmt::format(
        R"({{"name":"{}","singularName":"{}","namespaced":{},"kind":"{}",)"
        R"("verbs":["create","delete","get","list","patch","update","watch"],"shortNames":["{}"]}})",
        type.plural, type.singular, type.namespaced, type.kind, type.short_name);
  }
  out +=
      R"(,{"name":"pods/log","singularName":"","namespaced":true,"kind":"Pod","verbs":["get"]}]})";
  return out;
}

// Just enough for kubectl to learn that the server validates fields: the parameter of each PATCH.
std::string openapi_v3() {
  std::string out =
      R"({"openapi":"3.0.0","info":{"title":"Kubernetes","version":"v1.37.2"},"paths":{)";
  for (std::size_t i = 0; i < resource_count; ++i) {
    const ResourceType& type = type_of(static_cast<Resource>(i));
    if (i > 0) out.push_back(',');
    out += fmt::format(
        R"("/api/v1/{}{}/{{name}}":{{"patch":{{"operationId":"patch{}",)"
        R"("x-kubernetes-action":"patch","x-kubernetes-group-version-kind":{{"group":"","version":"v1","kind":"{}"}},)"
        R"("parameters":[{{"name":"fieldValidation","in":"query","schema":{{"type":"string"}}}}],)"
        R"("responses":{{"200":{{"description":"OK"}}}}}}}})",
        type.namespaced ? "namespaces/{namespace}/" : "", type.plural, type.kind, type.kind);
  }
  out += R"(},"components":{"schemas":{}}})";
  return out;
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A continue token: the revision of the first page and where the next one begins.
std::string continue_token(std::uint64_t revision, std::string_view next) {
  std::string token = fmt::format("{}.", revision);
  for (const char c : next) token += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return token;
}

struct Continue {
  std::uint64_t revision = 0;
  std::string from;
};

std::optional<Continue> parse_continue(std::string_view token) {
  const std::size_t dot = token.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto revision = number(token.substr(0, dot));
  token.remove_prefix(dot + 1);
  if (!revision || token.size() % 2 != 0) return std::nullopt;
  Continue result{*revision, {}};
  for (std::size_t i = 0; i < token.size(); i += 2) {
    unsigned byte = 0;
    const auto [end, error] = std::from_chars(token.data() + i, token.data() + i + 2, byte, 16);
    if (error != std::errc() || end != token.data() + i + 2) return std::nullopt;
    result.from.push_back(static_cast<char>(byte));
  }
  return result;
}

// The first media type of `accept` that we can make decides.
View view_of(const Call& call) {
  View view;
  std::string_view rest = call.accept;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view type = rest.substr(0, comma);
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    if (!type.contains("application/json") && !type.contains("*/*")) continue;
    if (!type.contains("as=")) break;
    if (type.contains("as=Table") && type.contains("v=v1") && !type.contains("v=v1beta1")) {
      view.table = true;
      break;
    }
  }
  const std::string_view include = call.request.query.get("includeObject");
  if (include == "None") view.include = View::Include::none;
  if (include == "Object") view.include = View::Include::object;
  return view;
}

Reply object_reply(const Object& object, const View& view, int status) {
  std::string text;
  if (view.table) {
    append_table_head(text, object.resource, true);
    text += fmt::format(",\"metadata\":{{\"resourceVersion\":\"{}\"}},\"rows\":[", object.revision);
    append_row(text, object, view);
    text += "]}\n";
    return Reply::of(std::move(text), status, table_content);
  }
  object.append_json(text);
  text.push_back('\n');
  return Reply::of(std::move(text), status);
}

ApiResult<Filter> filter_of(const Request& request, const ResourceType& type) {
  Filter filter;
  if (type.namespaced) filter.namespace_ = request.namespace_;
  auto labels = LabelSelector::parse(request.query.get("labelSelector"));
  if (!labels) return std::unexpected(bad_request(labels.error().context));
  auto fields = FieldSelector::parse(request.query.get("fieldSelector"));
  if (!fields) return std::unexpected(bad_request(fields.error().context));
  filter.labels = std::move(*labels);
  filter.fields = std::move(*fields);
  // A watch of one object by its path, as in /api/v1/watch/....
  if (!request.name.empty()) filter.fields.name = request.name;
  return filter;
}

ApiResult<Reply> list(const ServerView& server, const Call& call, const ResourceType& type) {
  const Query& query = call.request.query;
  auto filter = filter_of(call.request, type);
  if (!filter) return std::unexpected(filter.error());
  const std::uint64_t limit = number(query.get("limit")).value_or(0);
  Continue from;
  if (const std::string_view token = query.get("continue"); !token.empty()) {
    const auto parsed = parse_continue(token);
    if (!parsed) return std::unexpected(bad_request("continue key is not valid"));
    from = *parsed;
    if (from.revision < server.store.compacted(type.id)) {
      return std::unexpected(expired(
          "The provided continue parameter is too old to display a consistent list result."));
    }
  } else if (const auto revision = number(query.get("resourceVersion"))) {
    if (*revision > server.store.revision()) {
      return std::unexpected(too_large_revision(*revision, server.store.revision()));
    }
  }
  Store::ListResult result =
      server.store.list(type.id, *filter, from.from, limit == 0 ? SIZE_MAX : limit);
  // All pages carry the revision of the first: a watch from there misses nothing.
  if (from.revision > 0) result.revision = from.revision;
  std::string token;
  if (!result.next.empty()) token = continue_token(result.revision, result.next);
  const View view = view_of(call);
  Reply reply;
  reply.content_type = view.table ? table_content : json_content;
  reply.body = make_list_body(type.id, std::move(result), std::move(token),
                              filter->by_namespace_only(), view);
  return reply;
}

ApiResult<Reply> watch(const ServerView& server, const Call& call, const ResourceType& type) {
  const Query& query = call.request.query;
  auto filter = filter_of(call.request, type);
  if (!filter) return std::unexpected(filter.error());
  const bool initial_events = query.flag("sendInitialEvents");
  if (initial_events && query.get("resourceVersionMatch") != "NotOlderThan") {
    return std::unexpected(
        invalid("ListOptions.meta.k8s.io", "",
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting "
                "resourceVersionMatch to NotOlderThan"));
  }
  Reply reply;
  reply.bookmarks = query.flag("allowWatchBookmarks");
  reply.watch_list = initial_events && reply.bookmarks;
  const std::uint64_t seconds = number(query.get("timeoutSeconds")).value_or(0);
  // Without a wish: between once and twice --min-request-timeout (1800 s).
  reply.watch_timeout =
      seconds > 0 ? Duration(std::chrono::seconds(std::min<std::uint64_t>(seconds, 86400)))
                  : server.random.between(std::chrono::seconds(1800), std::chrono::seconds(3600));

  WatchStart start;
  start.resource = type.id;
  start.filter = std::move(*filter);
  start.view = view_of(call);
  reply.content_type = start.view.table ? table_content : json_content;
  const std::uint64_t since = number(query.get("resourceVersion")).value_or(0);
  const bool from_now = since == 0 || initial_events;
  if (from_now) {
    Store::ListResult result = server.store.list(type.id, start.filter, {}, SIZE_MAX);
    start.initial = std::move(result.objects);
    start.initial_revision = result.revision;
    start.bookmark_after_initial = reply.watch_list;
    // Place 0 is lost if the history has moved on this fast; the watch ends at once then.
    start.place = server.store.history_after(type.id, result.revision).value_or(0);
  } else {
    const auto place =
        since < server.history_floor ? std::nullopt : server.store.history_after(type.id, since);
    if (!place) {
      const std::uint64_t oldest = std::max(server.history_floor, server.store.compacted(type.id));
      Reply gone = Reply::of(
          error_event(expired(fmt::format("too old resource version: {} ({})", since, oldest))));
      gone.expired_watch = true;
      return gone;
    }
    start.place = *place;
  }
  auto body = std::make_unique<WatchBody>(server.store, std::move(start));
  reply.watch = body.get();
  reply.body = std::move(body);
  return reply;
}

ApiResult<Json> parse_body(const Call& call, Resource resource) {
  const std::string_view type = call.content_type.substr(0, call.content_type.find(';'));
  if (type == "application/vnd.kubernetes.protobuf") {
    auto object = read_protobuf(call.body, resource);
    if (!object) return std::unexpected(bad_request(object.error().context));
    return std::move(*object);
  }
  if (!type.empty() && type != "application/json" && type != "application/merge-patch+json" &&
      type != "application/strategic-merge-patch+json" && type != "application/apply-patch+yaml") {
    return std::unexpected(unsupported_media_type(type));
  }
  auto json = Json::parse(call.body);
  if (!json) return std::unexpected(bad_request(json.error().context));
  if (!json->is_object()) return std::unexpected(bad_request("the body is no object"));
  return std::move(*json);
}

ApiResult<Reply> change(const ServerView& server, const Call& call, const ResourceType& type) {
  const Request& request = call.request;
  // The path of a namespace names itself as its namespace.
  const std::string_view namespace_ = type.namespaced ? std::string_view(request.namespace_) : "";
  ApiResult<ObjectPtr> changed = std::unexpected(method_not_allowed());
  int status = 200;
  switch (request.verb) {
    case Verb::get: changed = server.store.get(type.id, namespace_, request.name); break;
    case Verb::create: {
      if (!request.name.empty()) break;
      auto json = parse_body(call, type.id);
      if (!json) return std::unexpected(json.error());
      changed = server.store.create(type.id, namespace_, std::move(*json));
      status = 201;
      break;
    }
    case Verb::update: {
      auto json = parse_body(call, type.id);
      if (!json) return std::unexpected(json.error());
      changed = server.store.update(type.id, namespace_, request.name, std::move(*json));
      break;
    }
    case Verb::patch: {
      auto json = parse_body(call, type.id);
      if (!json) return std::unexpected(json.error());
      const bool apply = call.content_type.starts_with("application/apply-patch");
      changed = server.store.patch(type.id, namespace_, request.name, *json, apply);
      break;
    }
    case Verb::remove: {
      if (request.name.empty()) break;
      changed = server.store.remove(type.id, namespace_, request.name);
      if (changed && type.id != Resource::pods) {
        return Reply::of(
            fmt::format(R"({{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Success",)"
                        R"("details":{{"name":{},"kind":"{}","uid":"{}"}}}})"
                        "\n",
                        json_string(request.name), type.plural, (*changed)->uid));
      }
      break;
    }
    case Verb::list:
    case Verb::watch:
    case Verb::other: break;
  }
  if (!changed) return std::unexpected(changed.error());
  return object_reply(**changed, view_of(call), status);
}

bool is_bench(std::string_view namespace_) {
  return namespace_ == "bench" || namespace_.starts_with("bench-");
}

// `bytes` of text between `head` and `tail`, filled up with x; x alone when there is no room.
std::string filled(std::string_view head, std::string_view tail, std::size_t bytes) {
  if (head.size() + tail.size() >= bytes) return std::string(bytes, 'x');
  std::string out(head);
  out.append(bytes - head.size() - tail.size(), 'x');
  out.append(tail);
  return out;
}

std::string bench_object(std::string_view name, std::string_view namespace_, std::size_t bytes,
                         bool bare) {
  const std::string head = fmt::format(
      R"({{{}"metadata":{{"name":{},"namespace":{},"uid":"00000000-0000-4000-a000-000000000001",)"
      R"("resourceVersion":"1","creationTimestamp":"2026-01-01T00:00:00Z"}},"data":{{"filling":")",
      bare ? "" : R"("kind":"ConfigMap","apiVersion":"v1",)", json_string(name),
      json_string(namespace_));
  return filled(head, "\"}}", bytes);
}

// A followed log is silent until somebody ends it.
class LogBody : public Body {
 public:
  explicit LogBody(bool follow) : follow_(follow) {}

 protected:
  Next next(std::string& out) override {
    if (sent_) return follow_ ? Next::wait : Next::end;
    sent_ = true;
    out = "simulated log, line 1\nsimulated log, line 2\n";
    return Next::piece;
  }

 private:
  bool follow_;
  bool sent_ = false;
};

// pkg/util/notfoundhandler.
Reply unknown_path() { return Reply::of("404 page not found\n", 404, text_content); }

// What the newest servers have, and no other.
constexpr std::string_view new_group = "resource.k8s.io";
constexpr std::uint32_t new_group_since = 38;

bool serves_group(const ServerView& server, std::string_view group) {
  if (group == new_group) return server.minor >= new_group_since;
  return server.store.definitions().served(group, server.index, server.lag,
                                           Definitions::Clock::now());
}

ApiResult<Reply> define(const ServerView& server, const Call& call) {
  if (call.request.verb != Verb::create) return std::unexpected(method_not_allowed());
  const auto body = Json::parse(call.body);
  const Json* spec = body ? body->find("spec") : nullptr;
  if (spec == nullptr || spec->text("group").empty()) {
    return std::unexpected(bad_request("spec.group is missing"));
  }
  server.store.definitions().define(spec->text("group"), server.index, Definitions::Clock::now());
  return Reply::of(body->to_string(), 201);
}

// Nothing is kept of them.
ApiResult<Reply> custom_resources(const Call& call) {
  const Request& request = call.request;
  if (request.verb == Verb::create) return Reply::of(std::string(call.body), 201);
  if (request.verb != Verb::list) return std::unexpected(not_found(request.resource, request.name));
  return Reply::of(
      fmt::format(R"({{"kind":"List","apiVersion":"{}/{}","metadata":{{}},"items":[]}})"
                  "\n",
                  request.group, request.version));
}

ApiResult<Reply> resources(const ServerView& server, const Call& call) {
  const Request& request = call.request;
  if (request.resource == "customresourcedefinitions") return define(server, call);
  if (!request.group.empty()) {
    if (!serves_group(server, request.group)) return unknown_path();
    return custom_resources(call);
  }
  if (request.version != "v1") return unknown_path();
  const ResourceType* type = find_type(request.resource);
  if (type == nullptr) return std::unexpected(page_not_found());
  if (type->namespaced && request.namespace_.empty() && request.verb != Verb::list &&
      request.verb != Verb::watch) {
    return std::unexpected(request.verb == Verb::get ? page_not_found() : method_not_allowed());
  }
  if (is_bench(request.namespace_) && request.verb == Verb::create) {
    return Reply::of(bench_object("created", request.namespace_, 1024, false), 201);
  }
  if (request.subresource == "log") {
    if (const auto pod = server.store.get(type->id, request.namespace_, request.name); !pod) {
      return std::unexpected(pod.error());
    }
    Reply reply;
    reply.content_type = "text/plain";
    reply.body = std::make_unique<LogBody>(request.query.flag("follow"));
    return reply;
  }
  if (request.subresource == "exec" || request.subresource == "attach" ||
      request.subresource == "portforward") {
    return std::unexpected(bad_request("Upgrade request required"));
  }
  if (!request.subresource.empty() && request.subresource != "status") {
    return std::unexpected(page_not_found());
  }
  if (request.verb == Verb::list) return list(server, call, *type);
  if (request.verb == Verb::watch) return watch(server, call, *type);
  return change(server, call, *type);
}

Reply self_subject_review(const Call& call) {
  if (call.request.verb != Verb::create) return Reply::of(method_not_allowed());
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::system_clock::now().time_since_epoch());
  return Reply::of(
      fmt::format(R"({{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1",)"
                  R"("metadata":{{"creationTimestamp":"{}"}},"status":{}}})"
                  "\n",
                  timestamp(now.count()), user_info_json(call.identity)),
      201);
}

bool is_metrics(const Request& request) {
  return !request.resource_request && request.path == "/metrics";
}

// A long page, with what is asked for near its end (k8s.io/component-base/metrics). Who may read
// it: ClusterRole system:monitoring.
Reply metrics(const ServerView& server, const Call& call) {
  const bool may = std::ranges::any_of(call.identity.groups, [](const std::string& group) {
    return group == "system:monitoring" || group == "system:masters";
  });
  if (!may) {
    return Reply::of(forbidden(
        fmt::format("forbidden: User \"{}\" cannot get path \"/metrics\"", call.identity.user)));
  }
  std::string text;
  for (int i = 0; i < 2000; ++i) {
    text += fmt::format(
        "apiserver_request_duration_seconds_bucket{{resource=\"pods\",verb=\"LIST\",le=\"{}\"}} "
        "{}\n",
        i, i * 3);
  }
  text += fmt::format(
      "# HELP process_start_time_seconds [STABLE] Start time of the process since unix epoch in "
      "seconds.\n# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {:.11e}\n"
      "# TYPE process_virtual_memory_bytes gauge\nprocess_virtual_memory_bytes 1.3e+09\n",
      server.started);
  return Reply::of(std::move(text), 200, "text/plain; version=0.0.4; charset=utf-8");
}

Reply readiness(const ServerView& server, const Call& call) {
  const std::string_view path = call.request.path;
  const bool ready = server.ready || path != "/readyz";
  const std::string_view name = path.substr(1);
  if (!ready) {
    return Reply::of("[+]ping ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n", 500,
                     text_content);
  }
  if (std::ranges::any_of(call.request.query.parameters,
                          [](const auto& each) { return each.first == "verbose"; })) {
    return Reply::of(fmt::format("[+]ping ok\n{} check passed\n", name), 200, text_content);
  }
  return Reply::of("ok", 200, text_content);
}

std::string bench_list(std::string_view namespace_, std::size_t bytes) {
  constexpr std::size_t item_bytes = 1024;
  std::string out =
      R"({"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[)";
  constexpr std::string_view end = "]}";
  for (std::size_t i = 0; out.size() + 2 * item_bytes + 2 < bytes; ++i) {
    out += bench_object(fmt::format("item-{:06}", i), namespace_, item_bytes - 1, true);
    out.push_back(',');
  }
  if (out.size() + end.size() < bytes) {
    out += bench_object("item-last", namespace_, bytes - out.size() - end.size(), true);
  }
  out += end;
  return out;
}

std::size_t named_size(std::string_view name) {
  constexpr std::size_t usual = 1024;
  for (const auto& [prefix, unit] : {std::pair{"b-", ""}, {"kb-", "k"}, {"mb-", "m"}}) {
    if (name.starts_with(prefix)) {
      const std::string_view digits = name.substr(std::string_view(prefix).size());
      const auto size = parse_size(std::string(digits.substr(0, digits.find('-'))) + unit);
      if (size && *size <= (std::size_t{64} << 20)) return *size;
    }
  }
  return usual;
}

}  // namespace

Reply Reply::of(const StatusError& error) {
  Reply reply = of(error.to_json(), error.code);
  reply.retry_after = error.retry_after;
  return reply;
}

Reply Reply::of(std::string text, int status, std::string_view content_type) {
  Reply reply;
  reply.status = status;
  reply.content_type = content_type;
  reply.text = std::make_shared<const std::string>(std::move(text));
  return reply;
}

bool is_probe(std::string_view path) {
  return path == "/readyz" || path == "/livez" || path == "/healthz";
}

bool is_aggregated(const Request& request) {
  return request.group == "refusing.example.com" || request.path.starts_with(aggregated_path);
}

bool has_bad_timeout(const Request& request) {
  const std::string_view timeout = request.query.get("timeout");
  return !timeout.empty() && (timeout[0] < '0' || timeout[0] > '9');
}

bool needs_identity(const Request& request) {
  return is_metrics(request) ||
         (request.resource == "selfsubjectreviews" && request.group == "authentication.k8s.io");
}

std::optional<StatusError> forbid_anonymous(const Request& request) {
  if (!request.resource_request) {
    // ClusterRole system:public-info-viewer.
    const bool open =
        is_probe(request.path) || request.path == "/version" || request.path == "/version/";
    if (open && request.verb == Verb::get) return std::nullopt;
    return forbidden(fmt::format("forbidden: User \"system:anonymous\" cannot {} path \"{}\"",
                                 to_string(request.verb), request.path));
  }
  return forbidden(fmt::format(
      "{}{}{}{} is forbidden: User \"system:anonymous\" cannot {} resource \"{}\" in API group "
      "\"{}\" {}",
      request.resource, request.group.empty() ? "" : ".", request.group,
      request.name.empty() ? "" : fmt::format(" \"{}\"", request.name), to_string(request.verb),
      request.resource, request.group,
      request.namespace_.empty() ? "at the cluster scope"
                                 : fmt::format("in the namespace \"{}\"", request.namespace_)));
}

Reply answer(const ServerView& server, const Call& call) {
  const Request& request = call.request;
  const std::string_view path = request.path;
  if (is_probe(path)) return readiness(server, call);
  if (is_metrics(request)) return metrics(server, call);
  if (needs_identity(request)) return self_subject_review(call);
  if (request.resource_request && !request.resource.empty()) {
    ApiResult<Reply> reply = resources(server, call);
    return reply ? std::move(*reply) : Reply::of(reply.error());
  }
  const std::string_view plain = path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
  if (request.verb != Verb::get) return Reply::of(method_not_allowed());
  if (plain == "/version") return Reply::of(fmt::format(server_version, server.minor));
  if (plain == "/api") return Reply::of(std::string(core_versions));
  if (plain == "/api/v1") return Reply::of(core_resources());
  if (plain == "/apis") {
    return Reply::of(fmt::format(R"({{"kind":"APIGroupList","apiVersion":"v1","groups":[{{{}{}]}})",
                                 authentication_group,
                                 serves_group(server, new_group) ? new_group_entry : ""));
  }
  if (plain == "/apis/authentication.k8s.io") {
    return Reply::of(
        fmt::format(R"({{"kind":"APIGroup","apiVersion":"v1",{})", authentication_group));
  }
  if (plain == "/apis/authentication.k8s.io/v1") {
    return Reply::of(std::string(authentication_resources));
  }
  if (plain == "/openapi/v3") {
    return Reply::of(R"({"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1"}}})");
  }
  if (plain == "/openapi/v3/api/v1") return Reply::of(openapi_v3());
  return unknown_path();
}

std::optional<std::string> bench_text(const Request& request) {
  constexpr std::size_t size_max = std::size_t{64} << 20;
  if (request.path.starts_with("/bench/") && request.verb == Verb::get) {
    const auto size = parse_size(request.path.substr(7));
    if (!size || *size > size_max) return std::nullopt;
    return std::string(*size, 'x');
  }
  if (!request.group.empty() || request.resource != "configmaps" || !request.subresource.empty()) {
    return std::nullopt;
  }
  const std::string_view namespace_ = request.namespace_;
  if (!is_bench(namespace_)) return std::nullopt;
  if (request.verb == Verb::get) {
    return bench_object(request.name, namespace_, named_size(request.name), false);
  }
  if (request.verb == Verb::list) {
    const auto size =
        namespace_ == "bench" ? Result<std::size_t>(100 * 1024) : parse_size(namespace_.substr(6));
    if (!size || *size > size_max) return std::nullopt;
    return bench_list(namespace_, *size);
  }
  return std::nullopt;
}

}  // namespace sluice::apisim
