// SPDX-License-Identifier: GPL-3.0-or-later
// Who a client certificate says the client is, as the API server derives it
// (k8s.io/apiserver pkg/authentication/request/x509/x509.go): the user is the last common name, the
// groups are all organizations in their order, the UID is the attribute 1.3.6.1.4.1.57683.2. Either
// the result equals the API server's, or there is none and a reason. Trust is not decided here:
// call it only for a leaf that the TLS library has verified.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"

namespace sluice::kubernetes {

struct Identity {
  std::string user;
  std::vector<std::string> groups;  // without empty ones, which no field can carry
  std::string uid;                  // "" if the certificate has none
  std::string credential_id;        // X509SHA256=<64 hexadecimal digits>

  friend bool operator==(const Identity&, const Identity&) = default;
};

// Why a connection or a certificate gives no identity.
enum class NoIdentity : std::uint8_t {
  no_certificate,      // the client sent none
  not_verified,        // the chain does not verify; said by the TLS side
  not_judged,          // the TLS side could not or would not tell whether it verifies
  malformed,           // not a certificate, or not one that the API server could read
  authority,           // CA:TRUE: an authority's certificate is no client certificate
  wrong_usage,         // its extended key usage excludes client authentication
  critical_extension,  // a critical extension that nobody here understands
  expired,
  no_common_name,  // none, or the last one is empty
  string_type,     // a name of a type other than UTF8String, PrintableString and IA5String
  control_byte,    // a name holds a control byte, which no field can carry
  outer_space,     // a name begins or ends with a space, which would be lost on the way
  repeated_uid,
  empty_uid,
  too_large,  // more bytes of names than subject_bytes_max
};

std::string_view to_string(NoIdentity reason);

// Whether an API server, too, would take a client with such a certificate for one without, so that
// a token decides. Where it would not, it would see a user in the certificate (or refuse the
// connection), and whoever answered by the token would make the client somebody else.
bool server_passes_over(NoIdentity reason);

// What all names together may need as fields. Users with thousands of groups exist; each group
// counts with 16 bytes more than it has, so that empty-looking ones cannot flood a request head.
inline constexpr std::size_t subject_bytes_max = 64 * 1024;

using Sha256Digest = std::span<const std::uint8_t, 32>;

// Walks the subject, which is the DER of a Name; `digest` is that of the whole leaf.
std::expected<Identity, NoIdentity> identity_of_subject(Bytes subject, Sha256Digest digest);

// Everything that can be said about a leaf without a clock: authority, usage, subject.
std::expected<Identity, NoIdentity> identity_of_certificate(Bytes der, Sha256Digest digest);

// Whether the API server takes this user for an anonymous one, for whom it closes connections
// (pkg/endpoints/filters/authentication.go): system:anonymous, or a member of
// system:unauthenticated.
bool is_anonymous(const Identity& identity);

// A node, a master, the controller manager or the scheduler: what keeps a cluster alive.
bool is_component(const Identity& identity);

}  // namespace sluice::kubernetes
