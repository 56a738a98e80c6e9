// SPDX-License-Identifier: GPL-3.0-or-later
// Settings, what they have in common, and the contexts that differ.
#include "cluster_settings.h"

#include <string>
#include <utility>

#include "sluice/base/bytes.h"

namespace sluice::server {
namespace {

// Of several texts, in which none can pass for a part of its neighbour.
class Digester {
 public:
  Digester& add(std::string_view text) {
    const Digest own = tls::sha256(as_bytes(text));
    all_.append(reinterpret_cast<const char*>(own.data()), own.size());
    return *this;
  }
  Digest digest() const { return tls::sha256(as_bytes(all_)); }

 private:
  std::string all_;
};

Digest digest_of(const tls::ServerOptions& tls) {
  Digester digester;
  digester.add(tls.certificate_chain_pem).add(tls.private_key_pem.text()).add(tls.client_ca_pem);
  digester.add(tls.client_certificate_strict ? "strict" : "");
  for (const std::string& protocol : tls.alpn) digester.add(protocol);
  return digester.digest();
}

Digest digest_of(const backend::BackendTls& tls) {
  Digester digester;
  digester.add(tls.plain.ca_pem);
  if (tls.identity) {
    digester.add(tls.identity->ca_pem)
        .add(tls.identity->certificate_chain_pem)
        .add(tls.identity->private_key_pem.text());
  }
  return digester.digest();
}

Digest digest_of(const std::optional<discovery::SliceOptions>& slices) {
  if (!slices) return {};
  const auto* target = std::get_if<discovery::Target>(&slices->server);
  const auto* address = std::get_if<io::Address>(&slices->server);
  Digester digester;
  digester.add(target != nullptr ? target->to_string() : address->to_string());
  digester.add(slices->path).add(slices->server_name).add(slices->name_space);
  digester.add(slices->service).add(slices->port_name).add(slices->tls.ca_pem);
  digester.add(slices->tls.certificate_chain_pem).add(slices->tls.private_key_pem.text());
  return digester.add(slices->token.text()).digest();
}

// What it is digested of apart from what is not secret.
void forget(std::optional<discovery::SliceOptions>& slices) {
  if (!slices) return;
  slices->tls = {};
  slices->token = {};
}

}  // namespace

Result<std::shared_ptr<const ClusterSettings>> ClusterSettings::create(ClusterOptions options) {
  auto fields = kubernetes::IdentityFields::make(options.request_headers);
  if (!fields) return std::unexpected(fields.error());
  const Digest serving = digest_of(options.tls);
  const Digest client_ca = tls::sha256(as_bytes(options.tls.client_ca_pem));
  const Digest backends = digest_of(options.backend_tls);
  const Digest management = digest_of(options.discovery.slices);
  return std::make_shared<const ClusterSettings>(ClusterSettings{
      std::move(options), std::move(*fields), serving, client_ca, backends, management});
}

std::shared_ptr<const ClusterSettings> ClusterSettings::without_keys() const {
  auto without = std::make_shared<ClusterSettings>(*this);
  without->options.tls = {};
  without->options.backend_tls = {};
  forget(without->options.discovery.slices);
  return without;
}

bool ClusterSettings::same_as(const ClusterSettings& other) const {
  if (serving != other.serving || client_ca != other.client_ca || backends != other.backends ||
      management != other.management) {
    return false;
  }
  // Either may have been emptied of its keys.
  ClusterOptions mine = options;
  mine.tls = other.options.tls;
  mine.backend_tls = other.options.backend_tls;
  mine.discovery.slices = other.options.discovery.slices;
  return mine == other.options;
}

Result<backend::BackendContexts> ClusterVersion::make_contexts() const {
  if (!has_backends()) return backend::BackendContexts{};
  auto contexts = options().backend_tls.make_contexts();
  if (contexts) contexts->generation = backend_tls;
  return contexts;
}

Result<ClusterRenewal> make_renewal(const ClusterSettings& before,
                                    std::shared_ptr<const ClusterVersion> version) {
  ClusterRenewal renewal;
  const ClusterSettings& now = *version->settings;
  renewal.judge_clients_anew = before.client_ca != now.client_ca;
  if (before.serving != now.serving && now.options.pass_through.empty()) {
    auto serving = tls::ServerContext::create(now.options.tls);
    if (!serving) return std::unexpected(serving.error());
    renewal.serving = std::move(*serving);
  }
  const bool woken = !before.options.has_backends() && version->has_backends();
  // What leaves runs on under what it has.
  if (version->has_backends() && (before.backends != now.backends || woken)) {
    auto backends = version->make_contexts();
    if (!backends) return std::unexpected(backends.error());
    renewal.backends = std::move(*backends);
  }
  renewal.version = std::move(version);
  return renewal;
}

}  // namespace sluice::server
