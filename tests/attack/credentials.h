// SPDX-License-Identifier: GPL-3.0-or-later
// What both programs are told on their command lines, and the credentials that it names.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>

#include "sluice/base/check.h"
#include "sluice/io/address.h"
#include "sluice/tls/context.h"

namespace sluice::attack {

[[noreturn]] inline void give_up(std::string_view why) {
  fmt::print(stderr, "{}\n", why);
  std::exit(2);
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) give_up("cannot read " + path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// A user's way to say who it is: a certificate, or a token of the same name where the proxy cannot
// vouch for certificates.
class Credentials {
 public:
  Credentials(std::string directory, bool tokens_only)
      : directory_(std::move(directory)),
        tokens_only_(tokens_only),
        nobody_(context({}, "gateway-ca.crt")),
        direct_(context({}, "ca.crt")) {}

  // TLS without a client certificate, and with that of `user`.
  std::shared_ptr<const tls::ClientContext> nobody() const { return nobody_; }
  std::shared_ptr<const tls::ClientContext> certificate(const std::string& user) const {
    return tokens_only_ ? nobody_ : context(user, "gateway-ca.crt");
  }
  // For an API server itself.
  std::shared_ptr<const tls::ClientContext> direct() const { return direct_; }
  // The token to send along with that certificate.
  std::string instead(const std::string& user) const {
    return tokens_only_ ? "token-" + user : std::string();
  }

 private:
  std::shared_ptr<const tls::ClientContext> context(const std::string& user,
                                                    std::string_view ca) const {
    CHECK(tls::initialize().has_value());
    tls::ClientOptions options;
    options.ca_pem = read_file(fmt::format("{}/{}", directory_, ca));
    if (!user.empty()) {
      options.certificate_chain_pem = read_file(fmt::format("{}/{}.crt", directory_, user));
      options.private_key_pem = read_file(fmt::format("{}/{}.key", directory_, user));
    }
    options.alpn = {"h2"};
    auto made = tls::ClientContext::create(options);
    if (!made) give_up(made.error().context);
    return *made;
  }

  std::string directory_;
  bool tokens_only_;
  std::shared_ptr<const tls::ClientContext> nobody_, direct_;
};

}  // namespace sluice::attack
