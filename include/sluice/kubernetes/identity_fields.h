// SPDX-License-Identifier: GPL-3.0-or-later
// What a client claims about identities is dropped, what we vouch for is added last. The API server
// believes X-Remote-* fields from a connection with the front-proxy certificate: the first user
// name wins and every group is added (k8s.io/apiserver pkg/authentication/request/headerrequest),
// so not one field of the client's may be left. The order is: connection fields out, then
// `sanitize`, then `append`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/http/fields.h"
#include "sluice/kubernetes/identity.h"

namespace sluice::kubernetes {

// Names of fields, as kube-apiserver's flags --requestheader-... list them. Of each list the first
// is the one that we send; all of them, and the defaults in any case, are dropped from requests.
struct RequestHeaderOptions {
  std::vector<std::string> username_headers = {"X-Remote-User"};
  std::vector<std::string> group_headers = {"X-Remote-Group"};
  std::vector<std::string> extra_headers_prefixes = {"X-Remote-Extra-"};
  std::vector<std::string> uid_headers = {"X-Remote-Uid"};  // empty: no UID is sent
  // Servers from 1.32 on derive a credential ID from certificates; older ones must not be told one.
  bool send_credential_id = true;

  friend bool operator==(const RequestHeaderOptions&, const RequestHeaderOptions&) = default;
};

// What happens to a field of a request.
enum class FieldAction : std::uint8_t {
  forward,
  drop_identity,    // it claims an identity
  drop_forwarding,  // it claims an address, or steers the API server: X-Forwarded-*, Forwarded,
                    // X-Real-Ip, Priority, X-Kubernetes-Peer-Proxied
};

enum class CredentialKind : std::uint8_t {
  none,
  bearer,  // exactly one bearer token, in Authorization or in a WebSocket subprotocol
  other,   // any other scheme, several credentials, or a malformed one: treated as a suspect
};

struct Credential {
  CredentialKind kind = CredentialKind::none;
  // The token, for a keyed hash and nothing else: it must not be stored or logged. A view into the
  // field.
  std::string_view token;
  bool base64url = false;  // as it stands there
};

struct Sanitized {
  std::size_t identity_fields = 0;  // dropped; a client that sends any is suspicious
  std::size_t other_fields = 0;
};

class IdentityFields {
 public:
  // Fails with a sentence if a name is not a field name, or if a list that must not be is empty.
  static Result<IdentityFields> make(const RequestHeaderOptions& options);

  // Fast for the fields that requests usually have: their first byte decides. A name matches in any
  // spelling: upper case, `_` for `-`, percent escapes.
  FieldAction action(std::string_view name) const {
    if (name.empty() || !candidates_[static_cast<std::uint8_t>(name[0])]) {
      return FieldAction::forward;
    }
    return slow_action(name);
  }

  // Drops what the client must not say. With `vouching` (a certificate's identity will be appended)
  // the client's own credentials go, too: a misconfigured server must answer 401 and not take the
  // token's identity for the certificate's.
  Sanitized sanitize(http::Fields& fields, bool vouching) const;

  // Adds the fields of the identity: user, one group field per group, UID, credential ID. They are
  // marked never_indexed, so that they enter no compression table.
  void append(const Identity& identity, http::Fields& fields) const;

  // Adds the one X-Forwarded-For line. `peer_address` is the client's IP address, without a port.
  static void append_forwarded_for(std::string_view peer_address, http::Fields& fields);

 private:
  IdentityFields() = default;
  FieldAction slow_action(std::string_view name) const;
  void drop_name(std::string_view name);

  std::array<bool, 256> candidates_{};  // first bytes of names that may have to go
  std::vector<std::string> names_;      // to drop, normalized
  std::vector<std::string> prefixes_;   // to drop, normalized
  std::string user_name_;
  std::string group_name_;
  std::string uid_name_;            // "" if none is sent
  std::string credential_id_name_;  // "" if none is sent
};

// The credential that the request carries besides a certificate. A token in a WebSocket subprotocol
// counts only with `websocket_upgrade`: the API server ignores it on every other request, which is
// then anonymous.
Credential classify_credential(const http::Fields& fields, bool websocket_upgrade = false);

// What a WebSocket subprotocol says as a token, so that it is the same one whichever way it comes;
// nothing when it says none.
std::optional<std::string> decode_base64url(std::string_view text);

// The name of an extra field: the prefix in lower case, then the key with every byte
// percent-encoded that no field name can hold. HTTP/2 wants lower-case names; the API server
// decodes either case. Upper case is escaped, because the API server lowers names before it decodes
// them.
std::string extra_field_name(std::string_view prefix, std::string_view key);

}  // namespace sluice::kubernetes
