// SPDX-License-Identifier: GPL-3.0-or-later
// Who sends a request, by the rules of a real kube-apiserver: request-header fields of a front
// proxy, client certificate, bearer token, in this order; the first that succeeds wins. An error of
// any of them that is not followed by a success is a 401, also where anonymous requests are
// allowed.
//
// Immutable after creation; any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "certificate.h"
#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/http/message.h"
#include "sluice/tls/engine.h"

namespace sluice::apisim {

struct Identity {
  std::string user;
  std::string uid;
  std::vector<std::string> groups;
  std::vector<std::pair<std::string, std::vector<std::string>>> extra;
};

struct AuthenticatorOptions {
  std::string client_ca_pem;
  std::string requestheader_ca_pem;
  std::vector<std::string> requestheader_allowed_names;  // empty: any certificate of that CA
  std::vector<std::string> user_headers = {"x-remote-user"};
  std::vector<std::string> uid_headers = {"x-remote-uid"};
  std::vector<std::string> group_headers = {"x-remote-group"};
  std::vector<std::string> extra_prefixes = {"x-remote-extra-"};
  std::string tokens_csv;  // token,user,uid,"group1,group2"
  bool anonymous = true;
};

// What a connection's certificate is worth; found once and kept for a while.
struct PeerFacts {
  enum class Kind : std::uint8_t { none, front_proxy, client, invalid };
  Kind kind = Kind::none;
  bool presented = false;
  bool front_proxy = false;        // verified under the request-header CA, name allowed
  bool certificate_error = false;  // the x509 step failed (as it does for a front proxy's)
  bool front_proxy_error = false;  // the request-header step failed (as it does for a user's)
  std::optional<Identity> user;    // of the x509 step
  WallTime valid_until{};          // look again from here on
};
std::string_view to_string(PeerFacts::Kind kind);

class Authenticator {
 public:
  static Result<Authenticator> create(AuthenticatorOptions options);

  PeerFacts examine(const tls::PeerCertificate& certificate, WallTime now) const;

  enum class Verdict : std::uint8_t { authenticated, anonymous, unauthorized };
  // `identity`, where given, receives who it is, system:authenticated included.
  Verdict authenticate(const http::Fields& fields, const PeerFacts& peer, Identity* identity) const;

 private:
  std::optional<Identity> by_front_proxy(const http::Fields& fields, bool wanted) const;

  AuthenticatorOptions options_;
  std::optional<CertificatePool> client_pool_;
  std::optional<CertificatePool> requestheader_pool_;
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  std::unordered_map<std::string, Identity, TextHash, std::equal_to<>> tokens_;
};

// Impersonate-* fields: nothing when there are none; an error (400 or 403) in its context's words.
Result<std::optional<Identity>> impersonated(const http::Fields& fields, const Identity& by);

// The `status` of a SelfSubjectReview: {"userInfo":{...}}.
std::string user_info_json(const Identity& identity);

}  // namespace sluice::apisim
