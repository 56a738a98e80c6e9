// SPDX-License-Identifier: GPL-3.0-or-later
// Certificates of a small cluster.
#include "make_certificates.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "certificates.h"

namespace sluice::apisim {

namespace {

constexpr std::string_view tokens =
    "token-admin,token-admin,uid-token-admin,\"system:masters\"\n"
    "token-alice,token-alice,uid-token-alice,\"developers,operators\"\n"
    "token-bench,token-bench,uid-token-bench\n";

class Directory {
 public:
  explicit Directory(std::string path) : path_(std::move(path)) {}

  void write(std::string_view name, std::string_view text, bool secret) {
    if (!result_) return;
    const std::string file = fmt::format("{}/{}", path_, name);
    const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                                  secret ? S_IRUSR | S_IWUSR : 0644);
    if (descriptor < 0) {
      result_ = fail_errno("cannot write " + file, errno);
      return;
    }
    if (::write(descriptor, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      result_ = fail_errno("cannot write " + file, errno);
    }
    ::close(descriptor);
  }
  void write(std::string_view name, const test::Certificate& certificate) {
    write(fmt::format("{}.crt", name), certificate.pem(), false);
    write(fmt::format("{}.key", name), certificate.key_pem(), true);
  }
  Result<void> result() const { return result_; }

 private:
  std::string path_;
  Result<void> result_;
};

std::string kubeconfig(const std::string& directory, const std::string& server) {
  return fmt::format(R"(apiVersion: v1
kind: Config
clusters:
- name: sluice
  cluster:
    server: {1}
    certificate-authority: {0}/gateway-ca.crt
users:
- name: certificate
  user:
    client-certificate: {0}/admin.crt
    client-key: {0}/admin.key
- name: token
  user:
    token: token-admin
contexts:
- name: certificate
  context:
    cluster: sluice
    user: certificate
    namespace: default
- name: token
  context:
    cluster: sluice
    user: token
    namespace: default
current-context: certificate
)",
                     directory, server);
}

}  // namespace

Result<void> make_certificates(const std::string& path, const std::string& server) {
  const std::vector<std::string> names = {"kubernetes.default.svc.cluster.local", "kubernetes",
                                          "localhost", "127.0.0.1", "::1"};
  const test::Certificate serving_ca = test::make_ca("kubernetes-ca");
  const test::Certificate client_ca = test::make_ca("kubernetes-client-ca");
  const test::Certificate foreign_ca = test::make_ca("foreign-ca");
  const test::Certificate front_proxy_ca = test::make_ca("front-proxy-ca");
  const test::Certificate gateway_ca = test::make_ca("gateway-ca");

  test::Specification expired;
  expired.subject = test::name("expired", {"system:masters"});
  expired.not_before = test::default_not_before;
  expired.not_after = test::default_not_before + std::chrono::days(365);
  expired.extended_usages = {std::string(test::usage_client_auth)};
  expired.key_usage = test::key_usage_digital_signature;

  Directory directory(path);
  directory.write("ca.crt", serving_ca.pem(), false);
  directory.write("apiserver", test::issue_server(serving_ca, names));
  directory.write("client-ca.crt", client_ca.pem(), false);
  directory.write("admin", test::issue_client(client_ca, "admin", {"system:masters"}));
  directory.write("alice", test::issue_client(client_ca, "alice", {"developers", "operators"}));
  directory.write("bob", test::issue_client(client_ca, "bob", {"developers"}));
  directory.write("mallory", test::issue_client(client_ca, "mallory", {"developers"}));
  directory.write("expired", test::issue(client_ca, expired));
  directory.write("foreign", test::issue_client(foreign_ca, "admin", {"system:masters"}));
  directory.write("front-proxy-ca.crt", front_proxy_ca.pem(), false);
  directory.write("front-proxy-client", test::issue_client(front_proxy_ca, "front-proxy-client"));
  directory.write("gateway-ca.crt", gateway_ca.pem(), false);
  directory.write("gateway", test::issue_server(gateway_ca, names));
  directory.write("tokens.csv", tokens, true);
  if (!server.empty()) directory.write("kubeconfig", kubeconfig(path, server), true);
  return directory.result();
}

}  // namespace sluice::apisim
