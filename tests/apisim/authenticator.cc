// SPDX-License-Identifier: GPL-3.0-or-later
// The chain of authenticators of a kube-apiserver: k8s.io/apiserver
// pkg/authentication/{authenticatorfactory,request/headerrequest,request/x509,request/bearertoken}.
#include "authenticator.h"

#include <algorithm>
#include <array>

#include "json.h"
#include "request.h"

namespace sluice::apisim {

namespace {

constexpr std::string_view anonymous_user = "system:anonymous";
constexpr std::string_view authenticated_group = "system:authenticated";
constexpr std::string_view unauthenticated_group = "system:unauthenticated";
constexpr std::string_view credential_id_key = "authentication.kubernetes.io/credential-id";

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

void lower_all(std::vector<std::string>& names) {
  for (std::string& name : names) name = lower(name);
}

// One line of a CSV file as Go's encoding/csv reads it: quoted cells may hold commas.
std::vector<std::string> split_csv(std::string_view line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      if (quoted && i + 1 < line.size() && line[i + 1] == '"') {
        cells.back().push_back('"');
        ++i;
      } else {
        quoted = !quoted;
      }
    } else if (line[i] == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back().push_back(line[i]);
    }
  }
  return cells;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

// The token of an Authorization field, empty when there is none.
std::string_view bearer_token(const http::Fields& fields) {
  const auto field = fields.find("authorization");
  if (!field) return {};
  const std::string_view value = trim(*field);
  const std::size_t space = value.find(' ');
  if (space == std::string_view::npos || lower(value.substr(0, space)) != "bearer") return {};
  const std::string_view rest = value.substr(space + 1);
  return rest.substr(0, rest.find(' '));
}

// The first value that is not empty of the first line of each name.
std::string_view first_value(const http::Fields& fields, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (const auto value = fields.find(name); value && !value->empty()) return *value;
  }
  return {};
}

void add_authenticated_group(Identity& identity) {
  if (identity.user == anonymous_user) return;
  const bool has = std::ranges::any_of(identity.groups, [](const std::string& group) {
    return group == authenticated_group || group == unauthenticated_group;
  });
  if (!has) identity.groups.emplace_back(authenticated_group);
}

void add_extra(Identity& identity, std::string key, std::string_view value) {
  const auto existing =
      std::ranges::find(identity.extra, key, &decltype(identity.extra)::value_type::first);
  if (existing != identity.extra.end()) {
    existing->second.emplace_back(value);
  } else {
    identity.extra.push_back({std::move(key), {std::string(value)}});
  }
}

// k8s.io/apiserver headerrequest: lower-cased first, decoded then; a bad escape stays as it is.
std::string extra_key(std::string_view name) {
  const std::string low = lower(name);
  return percent_decode(low, false).value_or(low);
}

}  // namespace

std::string_view to_string(PeerFacts::Kind kind) {
  switch (kind) {
    case PeerFacts::Kind::none: return "none";
    case PeerFacts::Kind::front_proxy: return "front-proxy";
    case PeerFacts::Kind::client: return "client";
    case PeerFacts::Kind::invalid: return "invalid";
  }
  return "none";
}

Result<Authenticator> Authenticator::create(AuthenticatorOptions options) {
  Authenticator authenticator;
  for (auto* names : {&options.user_headers, &options.uid_headers, &options.group_headers,
                      &options.extra_prefixes}) {
    lower_all(*names);
  }
  if (!options.client_ca_pem.empty()) {
    auto pool = CertificatePool::parse(options.client_ca_pem);
    if (!pool) return std::unexpected(pool.error());
    authenticator.client_pool_ = std::move(*pool);
  }
  if (!options.requestheader_ca_pem.empty()) {
    auto pool = CertificatePool::parse(options.requestheader_ca_pem);
    if (!pool) return std::unexpected(pool.error());
    authenticator.requestheader_pool_ = std::move(*pool);
  }
  std::string_view rest = options.tokens_csv;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = trim(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;
    const std::vector<std::string> cells = split_csv(line);
    if (cells.size() < 3 || cells[0].empty()) {
      return fail(ErrorKind::invalid_argument,
                  "the token file has a line without token, user and uid");
    }
    Identity identity{cells[1], cells[2], {}, {}};
    if (cells.size() > 3) {
      for (const std::string& group : split_csv(cells[3])) {
        if (!trim(group).empty()) identity.groups.emplace_back(trim(group));
      }
    }
    add_authenticated_group(identity);
    authenticator.tokens_.insert_or_assign(cells[0], std::move(identity));
  }
  authenticator.options_ = std::move(options);
  return authenticator;
}

PeerFacts Authenticator::examine(const tls::PeerCertificate& certificate, WallTime now) const {
  PeerFacts facts;
  facts.valid_until = now + std::chrono::seconds(10);
  facts.presented = certificate.presented && !certificate.chain_der.empty();
  if (!facts.presented) return facts;
  facts.kind = PeerFacts::Kind::invalid;
  const auto leaf = read_certificate(certificate.chain_der.front());
  if (leaf) facts.valid_until = std::min(facts.valid_until, std::max(leaf->not_after, now));

  if (requestheader_pool_) {
    const auto& names = options_.requestheader_allowed_names;
    facts.front_proxy = leaf && requestheader_pool_->verify(certificate.chain_der, now) &&
                        (names.empty() || std::ranges::count(names, leaf->common_name) > 0);
    facts.front_proxy_error = !facts.front_proxy;
  }
  if (client_pool_) {
    // An empty or repeated uid is an error; an empty name means that x509 has no opinion.
    const bool uid_valid =
        leaf && (leaf->uids.empty() || (leaf->uids.size() == 1 && !leaf->uids.front().empty()));
    facts.certificate_error = !leaf || !client_pool_->verify(certificate.chain_der, now) ||
                              (!leaf->common_name.empty() && !uid_valid);
    if (!facts.certificate_error && !leaf->common_name.empty()) {
      Identity user{leaf->common_name, {}, leaf->organizations, {}};
      if (!leaf->uids.empty()) user.uid = leaf->uids.front();
      add_extra(user, std::string(credential_id_key), leaf->credential_id);
      add_authenticated_group(user);
      facts.user = std::move(user);
      facts.kind = PeerFacts::Kind::client;
    }
  }
  if (facts.front_proxy) facts.kind = PeerFacts::Kind::front_proxy;
  return facts;
}

std::optional<Identity> Authenticator::by_front_proxy(const http::Fields& fields,
                                                      bool wanted) const {
  const std::string_view user = first_value(fields, options_.user_headers);
  if (user.empty()) return std::nullopt;
  Identity identity;
  if (!wanted) return identity;
  identity.user = user;
  identity.uid = first_value(fields, options_.uid_headers);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const http::Field field = fields[i];
    if (std::ranges::count(options_.group_headers, field.name) > 0 && !field.value.empty()) {
      identity.groups.emplace_back(field.value);
    }
    for (const std::string& prefix : options_.extra_prefixes) {
      if (field.name.starts_with(prefix)) {
        add_extra(identity, extra_key(field.name.substr(prefix.size())), field.value);
      }
    }
  }
  add_authenticated_group(identity);
  return identity;
}

Authenticator::Verdict Authenticator::authenticate(const http::Fields& fields,
                                                   const PeerFacts& peer,
                                                   Identity* identity) const {
  const bool wanted = identity != nullptr;
  if (peer.front_proxy) {
    if (auto vouched = by_front_proxy(fields, wanted)) {
      const bool anonymous = first_value(fields, options_.user_headers) == anonymous_user;
      if (wanted) *identity = std::move(*vouched);
      return anonymous ? Verdict::anonymous : Verdict::authenticated;
    }
  }
  if (peer.user) {
    if (wanted) *identity = *peer.user;
    return peer.user->user == anonymous_user ? Verdict::anonymous : Verdict::authenticated;
  }
  const std::string_view token = bearer_token(fields);
  if (!token.empty()) {
    const auto found = tokens_.find(token);
    if (found == tokens_.end()) return Verdict::unauthorized;
    if (wanted) *identity = found->second;
    return Verdict::authenticated;
  }
  if (peer.front_proxy_error || peer.certificate_error || !options_.anonymous) {
    return Verdict::unauthorized;
  }
  if (wanted) {
    *identity = {std::string(anonymous_user), {}, {std::string(unauthenticated_group)}, {}};
  }
  return Verdict::anonymous;
}

Result<std::optional<Identity>> impersonated(const http::Fields& fields, const Identity& by) {
  Identity as;
  bool any = false;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const http::Field field = fields[i];
    if (!field.name.starts_with("impersonate-")) continue;
    any = true;
    if (field.name == "impersonate-user") {
      if (as.user.empty()) as.user = field.value;
    } else if (field.name == "impersonate-group") {
      as.groups.emplace_back(field.value);
    } else if (field.name == "impersonate-uid") {
      as.uid = field.value;
    } else if (field.name.starts_with("impersonate-extra-")) {
      add_extra(as, extra_key(field.name.substr(18)), field.value);
    }
  }
  if (!any) return std::nullopt;
  if (as.user.empty()) {
    return fail(ErrorKind::invalid_argument, "requested impersonation without impersonating a user",
                Side::client);
  }
  if (std::ranges::count(by.groups, "system:masters") == 0) {
    return fail(
        ErrorKind::unauthenticated,
        "users \"" + as.user + "\" is forbidden: User \"" + by.user +
            "\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
        Side::client);
  }
  add_authenticated_group(as);
  return as;
}

std::string user_info_json(const Identity& identity) {
  std::string out = "{\"userInfo\":{\"username\":";
  append_json_string(out, identity.user);
  if (!identity.uid.empty()) {
    out += ",\"uid\":";
    append_json_string(out, identity.uid);
  }
  const auto append_list = [&out](const std::vector<std::string>& values) {
    out.push_back('[');
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) out.push_back(',');
      append_json_string(out, values[i]);
    }
    out.push_back(']');
  };
  if (!identity.groups.empty()) {
    out += ",\"groups\":";
    append_list(identity.groups);
  }
  if (!identity.extra.empty()) {
    // Go writes maps in the order of their keys.
    auto extra = identity.extra;
    std::ranges::sort(extra);
    out += ",\"extra\":{";
    for (std::size_t i = 0; i < extra.size(); ++i) {
      if (i > 0) out.push_back(',');
      append_json_string(out, extra[i].first);
      out.push_back(':');
      append_list(extra[i].second);
    }
    out.push_back('}');
  }
  out += "}}";
  return out;
}

}  // namespace sluice::apisim
