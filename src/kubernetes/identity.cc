// SPDX-License-Identifier: GPL-3.0-or-later
// From a certificate's subject to user, groups and UID.
#include "sluice/kubernetes/identity.h"

#include <algorithm>

#include "sluice/base/ascii.h"
#include "sluice/x509/certificate_facts.h"
#include "sluice/x509/name.h"

namespace sluice::kubernetes {
namespace {

using namespace std::string_view_literals;
using x509::NameAttribute;

constexpr std::string_view oid_common_name = "\x55\x04\x03"sv;   // 2.5.4.3
constexpr std::string_view oid_organization = "\x55\x04\x0a"sv;  // 2.5.4.10
constexpr std::string_view oid_uid =
    "\x2b\x06\x01\x04\x01\x83\xc2\x53\x02"sv;  // 1.3.6.1.4.1.57683.2

constexpr std::size_t group_overhead_bytes = 16;

// Whether the value can travel in a field and arrive as it is. UTF-8 passes, controls do not, and
// readers trim outer spaces: " admin" would arrive as another user.
std::optional<NoIdentity> check_value(const NameAttribute& attribute) {
  if (attribute.string_tag != x509::tag::utf8_string &&
      attribute.string_tag != x509::tag::printable_string &&
      attribute.string_tag != x509::tag::ia5_string) {
    return NoIdentity::string_type;
  }
  const std::string_view text = as_text(attribute.value);
  if (std::ranges::any_of(text, ascii::is_control)) return NoIdentity::control_byte;
  if (text.starts_with(' ') || text.ends_with(' ')) return NoIdentity::outer_space;
  return std::nullopt;
}

std::string credential_id(Sha256Digest digest) {
  std::string id = "X509SHA256=";
  for (const std::uint8_t byte : digest) ascii::append_hex(id, byte);
  return id;
}

}  // namespace

std::string_view to_string(NoIdentity reason) {
  switch (reason) {
    case NoIdentity::no_certificate: return "no certificate";
    case NoIdentity::not_verified: return "the certificate does not verify";
    case NoIdentity::not_judged: return "the certificate cannot be judged here";
    case NoIdentity::malformed: return "the certificate is malformed";
    case NoIdentity::authority: return "the certificate is that of an authority";
    case NoIdentity::wrong_usage: return "the certificate is not for client authentication";
    case NoIdentity::critical_extension: return "the certificate has an unknown critical extension";
    case NoIdentity::expired: return "the certificate has expired";
    case NoIdentity::no_common_name: return "the certificate has no common name";
    case NoIdentity::string_type: return "a name in the certificate has an unsupported string type";
    case NoIdentity::control_byte: return "a name in the certificate holds a control byte";
    case NoIdentity::outer_space: return "a name in the certificate begins or ends with a space";
    case NoIdentity::repeated_uid: return "the certificate has several UIDs";
    case NoIdentity::empty_uid: return "the certificate has an empty UID";
    case NoIdentity::too_large: return "the names in the certificate are too large";
  }
  return "unknown";
}

// k8s.io/apiserver pkg/authentication/request/union goes on to the next authenticator when one
// finds nobody or fails; pkg/authentication/request/x509 says when this one does.
bool server_passes_over(NoIdentity reason) {
  switch (reason) {
    case NoIdentity::no_certificate:
    case NoIdentity::not_verified:
    case NoIdentity::wrong_usage:
    case NoIdentity::critical_extension:
    case NoIdentity::expired:
    case NoIdentity::no_common_name:
    case NoIdentity::repeated_uid:
    case NoIdentity::empty_uid: return true;
    case NoIdentity::not_judged:
    case NoIdentity::malformed:
    case NoIdentity::authority:
    case NoIdentity::string_type:
    case NoIdentity::control_byte:
    case NoIdentity::outer_space:
    case NoIdentity::too_large: break;
  }
  return false;
}

std::expected<Identity, NoIdentity> identity_of_subject(Bytes subject, Sha256Digest digest) {
  std::optional<NameAttribute> common_name;
  std::optional<NameAttribute> uid;
  std::vector<NameAttribute> organizations;
  bool repeated_uid = false;
  std::size_t bytes = 0;
  const bool well_formed = x509::walk_name(subject, [&](const NameAttribute& attribute) {
    const std::string_view type = as_text(attribute.type);
    if (type == oid_common_name) {
      common_name = attribute;
    } else if (type == oid_organization) {
      bytes += attribute.value.size() + group_overhead_bytes;
      if (bytes <= subject_bytes_max) organizations.push_back(attribute);
    } else if (type == oid_uid) {
      repeated_uid = repeated_uid || uid.has_value();
      uid = attribute;
    }
  });
  if (!well_formed) return std::unexpected(NoIdentity::malformed);
  if (!common_name || common_name->value.empty())
    return std::unexpected(NoIdentity::no_common_name);
  if (repeated_uid) return std::unexpected(NoIdentity::repeated_uid);
  if (uid && uid->value.empty()) return std::unexpected(NoIdentity::empty_uid);
  bytes += common_name->value.size() + (uid ? uid->value.size() : 0);
  if (bytes > subject_bytes_max) return std::unexpected(NoIdentity::too_large);

  if (const auto reason = check_value(*common_name)) return std::unexpected(*reason);
  if (uid) {
    if (const auto reason = check_value(*uid)) return std::unexpected(*reason);
  }
  Identity identity;
  identity.user = as_text(common_name->value);
  if (uid) identity.uid = as_text(uid->value);
  identity.groups.reserve(organizations.size());
  for (const NameAttribute& organization : organizations) {
    if (const auto reason = check_value(organization)) return std::unexpected(*reason);
    if (!organization.value.empty()) identity.groups.emplace_back(as_text(organization.value));
  }
  identity.credential_id = credential_id(digest);
  return identity;
}

std::expected<Identity, NoIdentity> identity_of_certificate(Bytes der, Sha256Digest digest) {
  const auto facts = x509::read_certificate_facts(der);
  if (!facts) return std::unexpected(NoIdentity::malformed);
  if (facts->ca) return std::unexpected(NoIdentity::authority);
  if (facts->unknown_critical) return std::unexpected(NoIdentity::critical_extension);
  if (!facts->usable_for_client()) return std::unexpected(NoIdentity::wrong_usage);
  return identity_of_subject(facts->subject, digest);
}

bool is_anonymous(const Identity& identity) {
  return identity.user == "system:anonymous" ||
         std::find(identity.groups.begin(), identity.groups.end(), "system:unauthenticated") !=
             identity.groups.end();
}

bool is_component(const Identity& identity) {
  return identity.user == "system:kube-controller-manager" ||
         identity.user == "system:kube-scheduler" ||
         std::ranges::any_of(identity.groups, [](const std::string& group) {
           return group == "system:nodes" || group == "system:masters";
         });
}

}  // namespace sluice::kubernetes
