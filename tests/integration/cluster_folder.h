// SPDX-License-Identifier: GPL-3.0-or-later
// A folder of clusters' files, and the credentials that they name beside them.
#pragma once

#include <string>

#include "harness.h"

namespace sluice::test {

class ClusterFolderTest : public IntegrationTest {
 protected:
  ClusterFolderTest() {
    for (const std::string name : {"gateway.crt", "gateway.key", "ca.crt"}) {
      write_file(folder.file(name), read_file(credentials.file(name)));
    }
  }

  // What a cluster needs, in the words of a file; some of it beside the file, some elsewhere.
  std::string without_backends() const {
    std::string text =
        "# what clients see\r\n"
        "tls-cert-file = gateway.crt\r\n"
        "tls-private-key-file = gateway.key\r\n"
        "\r\n"
        "backend-ca-file = ca.crt\r\n"
        "backend-server-name = kubernetes.default.svc.cluster.local\r\n";
    text += "client-ca-file=" + credentials.file("client-ca.crt") + "\n";
    text += "proxy-client-cert-file=" + credentials.file("front-proxy-client.crt") + "\n";
    text += "proxy-client-key-file=" + credentials.file("front-proxy-client.key") + "\n";
    return text;
  }
  std::string backend(std::size_t server) const {
    return "backend=" + apisim->servers().at(server).to_string() + "\n";
  }
  std::string backends() const {
    return apisim ? backend(0) + backend(1) + backend(2) : "backend=127.0.0.1:1\n";
  }
  std::string lines() const { return without_backends() + backends(); }
  void put(const std::string& name, const std::string& text) const {
    write_file(folder.file(name + ".conf"), text);
  }
  std::string clusters() const { return "--clusters=" + folder.path(); }

  void expect_identities_served() {
    const auto client = connect(&credentials.alice);
    ASSERT_TRUE(client->ready());
    EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
    const auto seen = apisim->seen(object_path);
    ASSERT_FALSE(seen.empty());
    EXPECT_EQ(seen.back().user, "alice");
  }

  const TemporaryDirectory folder;
};

// The tests' clients ask for this one.
inline std::string asked_for() { return "server-names=" + std::string(api_server_name) + "\n"; }

}  // namespace sluice::test
