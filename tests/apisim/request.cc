// SPDX-License-Identifier: GPL-3.0-or-later
// Paths and queries of the Kubernetes API.
#include "request.h"

namespace sluice::apisim {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (!part.empty()) parts.push_back(percent_decode(part, false).value_or(std::string(part)));
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

Verb verb_of(std::string_view method) {
  if (method == "GET") return Verb::get;
  if (method == "POST") return Verb::create;
  if (method == "PUT") return Verb::update;
  if (method == "PATCH") return Verb::patch;
  if (method == "DELETE") return Verb::remove;
  return Verb::other;
}

}  // namespace

std::string_view to_string(Verb verb) {
  switch (verb) {
    case Verb::get: return "get";
    case Verb::list: return "list";
    case Verb::watch: return "watch";
    case Verb::create: return "create";
    case Verb::update: return "update";
    case Verb::patch: return "patch";
    case Verb::remove: return "delete";
    case Verb::other: return "other";
  }
  return "other";
}

std::optional<std::string> percent_decode(std::string_view text, bool plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus) {
      out.push_back(' ');
    } else if (text[i] == '%') {
      if (text.size() - i < 3) return std::nullopt;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

Query Query::parse(std::string_view text) {
  Query query;
  while (!text.empty()) {
    const std::size_t end = text.find('&');
    const std::string_view pair = text.substr(0, end);
    const std::size_t equals = pair.find('=');
    const auto name = percent_decode(pair.substr(0, equals), true);
    const auto value = equals == std::string_view::npos
                           ? std::string()
                           : percent_decode(pair.substr(equals + 1), true);
    if (!pair.empty() && name && value) query.parameters.emplace_back(*name, *value);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return query;
}

std::string_view Query::get(std::string_view name) const {
  for (const auto& [key, value] : parameters) {
    if (key == name) return value;
  }
  return {};
}

bool Query::flag(std::string_view name) const {
  const std::string_view value = get(name);
  return value == "1" || value == "t" || value == "T" || value == "true" || value == "TRUE" ||
         value == "True";
}

Request Request::parse(std::string_view method, std::string_view path_and_query) {
  Request request;
  const std::size_t question = path_and_query.find('?');
  request.path = path_and_query.substr(0, question);
  if (question != std::string_view::npos) {
    request.query = Query::parse(path_and_query.substr(question + 1));
  }
  request.verb = verb_of(method);

  const std::vector<std::string> parts = split_path(request.path);
  std::size_t next = 0;
  if (parts.size() >= 3 && parts[0] == "api") {
    request.version = parts[1];
    next = 2;
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    request.group = parts[1];
    request.version = parts[2];
    next = 3;
  } else {
    return request;
  }
  request.resource_request = true;
  bool watch = false;
  if (parts[next] == "watch") {
    watch = true;
    ++next;
  }
  if (next + 1 < parts.size() && parts[next] == "namespaces") {
    request.namespace_ = parts[next + 1];
    // /namespaces/NAME itself and its subresources are about the namespace.
    const bool about_namespace =
        next + 2 >= parts.size() || parts[next + 2] == "status" || parts[next + 2] == "finalize";
    if (!about_namespace) next += 2;
  }
  if (next < parts.size()) request.resource = parts[next];
  if (next + 1 < parts.size()) request.name = parts[next + 1];
  if (next + 2 < parts.size()) request.subresource = parts[next + 2];

  if (request.verb == Verb::get) {
    if (watch || (request.name.empty() && request.query.flag("watch"))) {
      request.verb = Verb::watch;
    } else if (request.name.empty()) {
      request.verb = Verb::list;
    }
  }
  return request;
}

}  // namespace sluice::apisim
