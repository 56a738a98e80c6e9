// SPDX-License-Identifier: GPL-3.0-or-later
// Drops and adds the fields that carry identities.
#include "sluice/kubernetes/identity_fields.h"

#include <algorithm>
#include <optional>

#include "query.h"
#include "sluice/base/ascii.h"

namespace sluice::kubernetes {
namespace {

constexpr std::string_view bearer_protocol_prefix = "base64url.bearer.authorization.k8s.io.";
constexpr std::string_view credential_id_key = "authentication.kubernetes.io/credential-id";

// A name that can be configured: without `%`, because names are compared with escapes decoded.
bool is_field_name(std::string_view name) {
  return ascii::is_token(name) && name.find('%') == std::string_view::npos;
}

constexpr char normal(char c) { return c == '_' ? '-' : ascii::to_lower(c); }

// Reads a name as the most generous server might: escapes decoded once, lower case, `_` as `-`.
class NormalName {
 public:
  explicit NormalName(std::string_view name) : name_(name) {}

  // The next byte, or nothing at the end.
  std::optional<char> next() {
    if (at_ == name_.size()) return std::nullopt;
    const int escaped = percent_escape(name_, at_);
    const char c = escaped < 0 ? name_[at_] : static_cast<char>(escaped);
    at_ += escaped < 0 ? 1 : 3;
    return normal(c);
  }

  bool starts_with(std::string_view prefix) {
    return std::all_of(prefix.begin(), prefix.end(), [&](char c) { return next() == c; });
  }

 private:
  std::string_view name_;
  std::size_t at_ = 0;
};

bool has_prefix(std::string_view name, std::string_view prefix) {
  return NormalName(name).starts_with(prefix);
}

bool is_name(std::string_view name, std::string_view wanted) {
  NormalName reader(name);
  return reader.starts_with(wanted) && !reader.next();
}

std::string normalized(std::string_view name) {
  std::string text(name);
  std::transform(text.begin(), text.end(), text.begin(), normal);
  return text;
}

// Calls `visit` for each member of a comma-separated list.
template <class F>
void for_each_member(std::string_view list, F&& visit) {
  for (;;) {
    const std::size_t comma = list.find(',');
    visit(ascii::trim(list.substr(0, comma)));
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

bool has_bearer_protocol(std::string_view protocols) {
  return protocols.find(bearer_protocol_prefix) != std::string_view::npos;
}

std::string without_bearer_protocols(std::string_view protocols) {
  std::string kept;
  for_each_member(protocols, [&](std::string_view protocol) {
    if (protocol.empty() || protocol.starts_with(bearer_protocol_prefix)) return;
    if (!kept.empty()) kept += ", ";
    kept += protocol;
  });
  return kept;
}

// "Bearer TOKEN" and nothing else. The API server itself would ignore what follows a second space.
std::optional<std::string_view> bearer_token(std::string_view authorization) {
  constexpr std::string_view scheme = "bearer ";
  authorization = ascii::trim(authorization);
  if (authorization.size() <= scheme.size() ||
      !ascii::equal_ignoring_case(authorization.substr(0, scheme.size()), scheme)) {
    return std::nullopt;
  }
  const std::string_view token = authorization.substr(scheme.size());
  if (std::any_of(token.begin(), token.end(), ascii::is_blank)) return std::nullopt;
  return token;
}

}  // namespace

Result<IdentityFields> IdentityFields::make(const RequestHeaderOptions& options) {
  IdentityFields result;
  struct List {
    const char* flag;
    const std::vector<std::string>& names;
    bool required;
    bool prefix;
  };
  const std::array<List, 4> lists = {{
      {"--requestheader-username-headers", options.username_headers, true, false},
      {"--requestheader-group-headers", options.group_headers, true, false},
      {"--requestheader-uid-headers", options.uid_headers, false, false},
      {"--requestheader-extra-headers-prefix", options.extra_headers_prefixes,
       options.send_credential_id, true},
  }};
  for (const List& list : lists) {
    if (list.required && list.names.empty()) {
      return fail(ErrorKind::invalid_argument,
                  std::string(list.flag) + " names no field; name at least one");
    }
    for (const std::string& name : list.names) {
      if (!is_field_name(name)) {
        return fail(ErrorKind::invalid_argument,
                    std::string(list.flag) + " names \"" + name + "\", which is no field name");
      }
      (list.prefix ? result.prefixes_ : result.names_).push_back(normalized(name));
    }
  }
  // The whole family of the default names goes in any case: a server may still listen to it.
  result.prefixes_.emplace_back("x-remote-");

  result.user_name_ = ascii::lowered(options.username_headers.front());
  result.group_name_ = ascii::lowered(options.group_headers.front());
  if (!options.uid_headers.empty()) result.uid_name_ = ascii::lowered(options.uid_headers.front());
  if (options.send_credential_id) {
    result.credential_id_name_ =
        extra_field_name(options.extra_headers_prefixes.front(), credential_id_key);
  }

  for (const std::string& name : result.names_) result.drop_name(name);
  for (const std::string& prefix : result.prefixes_) result.drop_name(prefix);
  for (const std::string_view name : {"forwarded", "priority", "x-"}) result.drop_name(name);
  result.candidates_['%'] = true;
  return result;
}

void IdentityFields::drop_name(std::string_view name) {
  for (std::size_t byte = 0; byte < candidates_.size(); ++byte) {
    if (normal(static_cast<char>(byte)) == name[0]) candidates_[byte] = true;
  }
}

FieldAction IdentityFields::slow_action(std::string_view name) const {
  for (const std::string& prefix : prefixes_) {
    if (has_prefix(name, prefix)) return FieldAction::drop_identity;
  }
  for (const std::string& other : names_) {
    if (is_name(name, other)) return FieldAction::drop_identity;
  }
  if (has_prefix(name, "x-forwarded-") || is_name(name, "forwarded") ||
      is_name(name, "x-real-ip") || is_name(name, "priority") ||
      is_name(name, "x-kubernetes-peer-proxied")) {
    return FieldAction::drop_forwarding;
  }
  return FieldAction::forward;
}

Sanitized IdentityFields::sanitize(http::Fields& fields, bool vouching) const {
  Sanitized result;
  std::string protocols;  // of a WebSocket handshake, without the tokens
  bool rewrite_protocols = false;
  fields.remove_if([&](const http::Field& field) {
    switch (action(field.name)) {
      case FieldAction::drop_identity: ++result.identity_fields; return true;
      case FieldAction::drop_forwarding: ++result.other_fields; return true;
      case FieldAction::forward: break;
    }
    if (!vouching) return false;
    if (ascii::equal_ignoring_case(field.name, "authorization")) {
      ++result.other_fields;
      return true;
    }
    if (ascii::equal_ignoring_case(field.name, "sec-websocket-protocol") &&
        has_bearer_protocol(field.value)) {
      const std::string kept = without_bearer_protocols(field.value);
      if (!protocols.empty() && !kept.empty()) protocols += ", ";
      protocols += kept;
      rewrite_protocols = true;
      ++result.other_fields;
      return true;
    }
    return false;
  });
  if (rewrite_protocols && !protocols.empty()) fields.add("sec-websocket-protocol", protocols);
  return result;
}

void IdentityFields::append(const Identity& identity, http::Fields& fields) const {
  fields.add(user_name_, identity.user, true);
  for (const std::string& group : identity.groups) fields.add(group_name_, group, true);
  if (!uid_name_.empty() && !identity.uid.empty()) fields.add(uid_name_, identity.uid, true);
  if (!credential_id_name_.empty() && !identity.credential_id.empty()) {
    fields.add(credential_id_name_, identity.credential_id, true);
  }
}

void IdentityFields::append_forwarded_for(std::string_view peer_address, http::Fields& fields) {
  fields.add("x-forwarded-for", peer_address);
}

Credential classify_credential(const http::Fields& fields, bool websocket_upgrade) {
  Credential credential;
  const auto found = [&](std::optional<std::string_view> token, bool base64url) {
    const bool first = credential.kind == CredentialKind::none;
    if (first && token && !token->empty()) {
      credential = {CredentialKind::bearer, *token, base64url};
    } else {
      credential = {CredentialKind::other, {}};
    }
  };
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const http::Field field = fields[i];
    if (ascii::equal_ignoring_case(field.name, "authorization")) {
      found(bearer_token(field.value), false);
    } else if (websocket_upgrade &&
               ascii::equal_ignoring_case(field.name, "sec-websocket-protocol") &&
               has_bearer_protocol(field.value)) {
      for_each_member(field.value, [&](std::string_view protocol) {
        if (protocol.starts_with(bearer_protocol_prefix)) {
          found(protocol.substr(bearer_protocol_prefix.size()), true);
        }
      });
    }
  }
  return credential;
}

// RFC 4648 section 5, without padding (k8s.io/apiserver
// pkg/authentication/request/websocket/protocol.go).
std::optional<std::string> decode_base64url(std::string_view text) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  if (text.size() % 4 == 1) return std::nullopt;
  std::string token;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const std::size_t digit = digits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    token += static_cast<char>(bits >> count & 0xff);
  }
  return token;
}

std::string extra_field_name(std::string_view prefix, std::string_view key) {
  std::string name = ascii::lowered(prefix);
  for (const char c : key) {
    if (ascii::is_token_byte(c) && c != '%' && !ascii::is_upper(c)) {
      name += c;
    } else {
      name += '%';
      ascii::append_hex(name, static_cast<std::uint8_t>(c));
    }
  }
  return name;
}

}  // namespace sluice::kubernetes
