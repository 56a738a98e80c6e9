// SPDX-License-Identifier: GPL-3.0-or-later
// The rules of the API server's request info, and the characters that a path may have.
#include "sluice/kubernetes/request_info.h"

#include <algorithm>
#include <array>
#include <utility>

#include "numbers.h"
#include "query.h"
#include "selectors.h"
#include "sluice/base/ascii.h"
#include "sluice/base/check.h"

namespace sluice::kubernetes {
namespace {

// Room for everything that is decoded from one path, allocated when the first escape is met: each
// byte of it is decoded at most once, and a field selector's value may grow threefold afterwards.
class Scratch {
 public:
  Scratch(std::unique_ptr<char[]>& memory, std::size_t input_bytes)
      : memory_(memory), capacity_(4 * input_bytes) {}

  char* reserve(std::size_t bytes) {
    if (!memory_) memory_ = std::make_unique_for_overwrite<char[]>(capacity_);
    CHECK_LE(used_ + bytes, capacity_);
    return memory_.get() + used_;
  }

  std::string_view keep(const char* begin, std::size_t bytes) {
    used_ += bytes;
    return {begin, bytes};
  }

 private:
  std::unique_ptr<char[]>& memory_;
  std::size_t capacity_;
  std::size_t used_ = 0;
};

std::string_view decode(std::string_view text, bool plus_is_space, Scratch& scratch) {
  char* out = scratch.reserve(text.size());
  return scratch.keep(out, decode_percent(text, plus_is_space, out));
}

std::string_view decode(const ParameterValue& value, Scratch& scratch) {
  return value.encoded ? decode(value.raw, true, scratch) : value.raw;
}

// The first segments of a path and how many there are; nine are the most that mean anything
// (apis, group, version, watch, namespaces, namespace, resource, name, subresource).
class Segments {
 public:
  explicit Segments(std::string_view path) {
    while (path.starts_with('/')) path.remove_prefix(1);
    while (path.ends_with('/')) path.remove_suffix(1);
    if (path.empty()) return;
    while (count_ < list_.size()) {
      const std::size_t slash = path.find('/');
      list_[count_++] = path.substr(0, slash);
      if (slash == std::string_view::npos) break;
      path.remove_prefix(slash + 1);
    }
  }

  std::size_t left() const { return count_ - at_; }
  std::string_view operator[](std::size_t index) const { return list_[at_ + index]; }
  void drop(std::size_t segments) { at_ += segments; }
  std::string_view take() { return list_[at_++]; }

 private:
  std::array<std::string_view, 10> list_;
  std::size_t count_ = 0;
  std::size_t at_ = 0;
};

std::string_view lower_case_method(std::string_view method, Scratch& scratch) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 7> known = {{
      {"GET", "get"},
      {"POST", "post"},
      {"PUT", "put"},
      {"PATCH", "patch"},
      {"DELETE", "delete"},
      {"HEAD", "head"},
      {"OPTIONS", "options"},
  }};
  for (const auto& [upper, lower] : known) {
    if (method == upper) return lower;
  }
  if (std::none_of(method.begin(), method.end(), ascii::is_upper)) return method;
  char* out = scratch.reserve(method.size());
  std::transform(method.begin(), method.end(), out, ascii::to_lower);
  return scratch.keep(out, method.size());
}

std::string_view verb_of_method(std::string_view method) {
  if (method == "GET" || method == "HEAD") return "get";
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return "delete";
  return "";
}

// The value of a flag that is present: everything but 0 and false is true. Where the list options
// decode, the API server folds case by Unicode's rules, by which U+017F is an s.
bool parse_flag(std::string_view value, bool unicode_folding) {
  if (value == "0" || ascii::equal_ignoring_case(value, "false")) return false;
  constexpr std::string_view long_s = "\xc5\xbf";
  return !(unicode_folding && value.size() == 6 && value.substr(3, 2) == long_s &&
           ascii::equal_ignoring_case(value.substr(0, 3), "fal") &&
           ascii::to_lower(value[5]) == 'e');
}

bool is_path_segment(std::string_view name) {
  return name != "." && name != ".." && name.find_first_of("/%") == std::string_view::npos;
}

void read_parameters(const Query& query, RequestInfo& info, Scratch& scratch) {
  info.resource_version = decode(query[Parameter::resource_version], scratch);
  info.continue_token = decode(query[Parameter::continue_token], scratch);
  const ParameterValue& match = query[Parameter::resource_version_match];
  info.has_resource_version_match = match.present && !match.raw.empty();
  if (const ParameterValue& allow = query[Parameter::allow_watch_bookmarks]; allow.present) {
    info.allow_watch_bookmarks = parse_flag(decode(allow, scratch), true);
  }
  if (query[Parameter::send_initial_events].present) {
    info.send_initial_events =
        parse_flag(decode(query[Parameter::send_initial_events], scratch), true);
  }
}

// Decides between list and watch, and finds the one name that a field selector may require.
void resolve_list(const Query& query, RequestInfo& info, Scratch& scratch) {
  bool decodes = true;
  if (const ParameterValue& value = query[Parameter::timeout_seconds]; value.present) {
    info.timeout_seconds = parse_int64(decode(value, scratch));
    decodes = info.timeout_seconds.has_value();
  }
  if (const ParameterValue& value = query[Parameter::limit]; value.present) {
    const std::optional<std::int64_t> limit = parse_int64(decode(value, scratch));
    info.limit = limit.value_or(0);
    decodes = decodes && limit.has_value();
  }
  info.field_selector = decode(query[Parameter::field_selector], scratch);
  info.label_selector = decode(query[Parameter::label_selector], scratch);
  const FieldSelector fields = parse_field_selector(info.field_selector);
  decodes = decodes && fields.valid && is_label_selector(info.label_selector);

  if (!info.path_verb) {
    const ParameterValue& watch = query[Parameter::watch];
    const bool watching = watch.present && parse_flag(decode(watch, scratch), decodes);
    info.verb = watching ? "watch" : "list";
    if (decodes && fields.name) {
      std::string_view name = *fields.name;
      if (name.find('\\') != std::string_view::npos) {
        char* out = scratch.reserve(3 * name.size());
        name = unescape_field_value(name, out);
        scratch.keep(out, name.size());
      }
      if (is_path_segment(name)) info.name = name;
    }
  } else {
    // The deprecated form has no selectors in the API server's eyes.
    info.field_selector = {};
    info.label_selector = {};
  }
}

void resolve_resource(std::string_view method, std::string_view raw_query, Segments segments,
                      RequestInfo& info, Scratch& scratch) {
  info.is_resource = true;
  info.api_version = segments.take();

  if (segments[0] == "proxy" || segments[0] == "watch") {
    if (segments.left() < 2) {
      info.malformed = true;
      return;
    }
    info.verb = segments.take() == "proxy" ? "proxy" : "watch";
    info.path_verb = true;
  } else {
    info.verb = verb_of_method(method);
  }

  // /namespaces/{name}/{resource}/..., but status and finalize are subresources of a namespace.
  if (segments[0] == "namespaces" && segments.left() > 1) {
    info.namespace_name = segments[1];
    if (segments.left() > 2 && segments[2] != "status" && segments[2] != "finalize") {
      segments.drop(2);
    }
  }

  info.resource = segments[0];
  if (segments.left() >= 2) info.name = segments[1];
  if (segments.left() >= 3 && info.verb != "proxy") info.subresource = segments[2];

  if (info.name.empty() && info.verb == "get") {
    const Query query(raw_query);
    resolve_list(query, info, scratch);
    read_parameters(query, info, scratch);
  } else if (info.name.empty() && info.verb == "delete") {
    info.verb = "deletecollection";
    const Query query(raw_query);
    info.field_selector = decode(query[Parameter::field_selector], scratch);
    info.label_selector = decode(query[Parameter::label_selector], scratch);
  } else if (info.verb == "get" && raw_query.contains("resourceVersion")) {
    const Query query(raw_query);
    info.resource_version = decode(query[Parameter::resource_version], scratch);
  } else if (info.path_verb && info.verb == "watch") {
    const Query query(raw_query);
    resolve_list(query, info, scratch);
    read_parameters(query, info, scratch);
  } else if (info.subresource == "log") {
    const Query query(raw_query);
    const ParameterValue& follow = query[Parameter::follow];
    info.follow = follow.present && parse_flag(decode(follow, scratch), true);
  }
}

enum class PathByte : std::uint8_t { allowed, refused, percent };

constexpr std::array<PathByte, 256> path_byte_kinds = [] {
  std::array<PathByte, 256> table{};
  for (std::size_t byte = 0; byte < table.size(); ++byte) {
    const bool refused = byte < 0x21 || byte > 0x7e || byte == '#' || byte == '\\';
    table[byte] = refused ? PathByte::refused : PathByte::allowed;
  }
  table['%'] = PathByte::percent;
  return table;
}();

constexpr bool is_control_or_space(char c) { return (c >= 0 && c <= ' ') || c == 0x7f; }

}  // namespace

RequestInfo parse_request_info(std::string_view method, std::string_view raw_path) {
  RequestInfo info;
  const std::size_t question = raw_path.find('?');
  const std::string_view encoded = raw_path.substr(0, question);
  const std::string_view query =
      question == std::string_view::npos ? std::string_view() : raw_path.substr(question + 1);

  Scratch scratch(info.scratch, method.size() + raw_path.size());
  info.is_get = method == "GET";
  info.verb = lower_case_method(method, scratch);
  info.path = encoded;
  if (encoded.find('%') != std::string_view::npos) {
    info.malformed = !escapes_are_whole(encoded);
    info.path = decode(encoded, false, scratch);
  }

  Segments segments(info.path);
  if (segments.left() < 3) return info;
  if (segments[0] == "api") {
    info.api_prefix = "api";
  } else if (segments[0] == "apis") {
    info.api_prefix = "apis";
  } else {
    return info;
  }
  segments.drop(1);
  if (info.api_prefix == "apis") {
    if (segments.left() < 3) return info;
    info.api_group = segments.take();
  }
  resolve_resource(method, query, segments, info, scratch);
  return info;
}

void RequestInfo::detach() {
  constexpr std::size_t name_bytes_max = 253;
  field_selector = label_selector = resource_version = continue_token = {};
  const std::array<std::string_view*, 9> views = {&path,      &verb,        &api_prefix,
                                                  &api_group, &api_version, &namespace_name,
                                                  &resource,  &subresource, &name};
  std::size_t bytes = 0;
  for (std::string_view* view : views) {
    *view = view->substr(0, name_bytes_max);
    bytes += view->size();
  }
  auto copies = std::make_unique<char[]>(bytes);
  char* next = copies.get();
  for (std::string_view* view : views) {
    std::ranges::copy(*view, next);
    *view = {next, view->size()};
    next += view->size();
  }
  scratch = std::move(copies);
}

Result<void> check_path(std::string_view raw_path) {
  const auto refuse = [](const char* why) {
    return fail(ErrorKind::invalid_argument, why, Side::client);
  };
  if (!raw_path.starts_with('/')) return refuse("the path does not begin with a slash");
  const std::size_t path_bytes = std::min(raw_path.find('?'), raw_path.size());
  const std::string_view path = raw_path.substr(0, path_bytes);
  for (std::size_t at = 0; at < path.size(); ++at) {
    switch (path_byte_kinds[static_cast<std::uint8_t>(path[at])]) {
      case PathByte::allowed: break;
      case PathByte::refused: return refuse("the path holds a byte that no path may hold");
      case PathByte::percent:
        if (percent_escape(path, at) < 0) return refuse("the path holds a broken escape");
        if (percent_escape(path, at) == 0) return refuse("the path holds an escaped NUL");
        break;
    }
  }
  if (std::any_of(raw_path.begin() + static_cast<std::ptrdiff_t>(path_bytes), raw_path.end(),
                  is_control_or_space)) {
    return refuse("the query holds a control byte or a space");
  }
  return {};
}

}  // namespace sluice::kubernetes
