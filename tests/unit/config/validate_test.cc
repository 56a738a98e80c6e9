// SPDX-License-Identifier: GPL-3.0-or-later
// Each mistake is found, with the others beside it, and a good configuration has none.
#include "sluice/config/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "certificates.h"
#include "sluice/tls/context.h"

namespace sluice::config {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr WallTime now = test::at(1'800'000'000);

// What a cluster has, made once.
struct Material {
  test::Certificate serving_ca = test::make_ca("serving-ca");
  test::Certificate client_ca = test::make_ca("client-ca");
  test::Certificate front_proxy_ca = test::make_ca("front-proxy-ca");
  test::Certificate serving = test::issue_server(serving_ca, {"gateway.example", "127.0.0.1"});
  test::Certificate front_proxy = test::issue_client(front_proxy_ca, "front-proxy-client");
};
const Material& material() {
  static const Material made;
  return made;
}

class ValidateTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(tls::initialize().has_value()); }

  void SetUp() override {
    const Material& m = material();
    files_ = {
        {"tls.crt", m.serving.pem()},         {"tls.key", m.serving.key_pem()},
        {"client-ca.crt", m.client_ca.pem()}, {"backend-ca.crt", m.serving_ca.pem()},
        {"proxy.crt", m.front_proxy.pem()},   {"proxy.key", m.front_proxy.key_pem()},
    };
    config_.tls_cert_file = "tls.crt";
    config_.tls_private_key_file = "tls.key";
    config_.client_ca_file = "client-ca.crt";
    config_.backend_ca_file = "backend-ca.crt";
    config_.proxy_client_cert_file = "proxy.crt";
    config_.proxy_client_key_file = "proxy.key";
    config_.backends = {"10.0.0.1:6443", "10.0.0.2:6443", "[fd00::3]:6443"};
    environment_.now = now;
    environment_.cpus = 8;
    environment_.descriptors_max = 65536;
    environment_.read_file = [this](const std::string& path) -> Result<std::string> {
      if (const auto found = files_.find(path); found != files_.end()) return found->second;
      return fail(ErrorKind::system, "No such file or directory");
    };
    environment_.may_append = [](const std::string&) -> Result<void> { return {}; };
    environment_.others_may_read = [this](const std::string& path) { return open_.contains(path); };
  }

  Validation check() const { return validate(config_, environment_); }
  std::vector<std::string> mistakes() const { return check().mistakes; }

  Config config_;
  Environment environment_;
  std::map<std::string, std::string> files_;
  std::set<std::string> open_;
};

TEST_F(ValidateTest, TakesAGoodConfiguration) {
  const Validation result = check();
  EXPECT_THAT(result.mistakes, IsEmpty());
  EXPECT_THAT(result.warnings, IsEmpty());
  EXPECT_THAT(result.notes, IsEmpty());
  EXPECT_TRUE(result.clusters[0].vouches_for_identity);
  EXPECT_EQ(result.config.workers, 8u);
  EXPECT_EQ(result.config.client_connections_max, 65536u - 6553u);
  EXPECT_THAT(result.listen, SizeIs(1));
  ASSERT_THAT(result.clusters[0].backends, SizeIs(3));
  EXPECT_EQ(result.clusters[0].backends[2].to_string(), "[fd00::3]:6443");
  EXPECT_THAT(result.clusters[0].backend_server_names,
              ElementsAre("10.0.0.1", "10.0.0.2", "fd00::3"));
  EXPECT_EQ(result.clusters[0].files.tls_cert_pem, files_["tls.crt"]);
  EXPECT_EQ(result.clusters[0].files.proxy_client_key_pem, files_["proxy.key"]);
  EXPECT_EQ(result.report(), "configuration is valid\n");
}

TEST_F(ValidateTest, UsesOneServerNameForAllBackends) {
  config_.backend_server_name = "kubernetes.default.svc";
  EXPECT_THAT(
      check().clusters[0].backend_server_names,
      ElementsAre("kubernetes.default.svc", "kubernetes.default.svc", "kubernetes.default.svc"));
}

TEST_F(ValidateTest, WithoutNamesTheOnlyClusterTakesEverybody) {
  const Validation result = check();
  EXPECT_EQ(result.default_cluster, 0u);
  EXPECT_EQ(result.clusters[0].config.default_for, DefaultFor::unknown);
  EXPECT_THAT(result.clusters[0].server_names, IsEmpty());
  EXPECT_THAT(result.reserved_names, IsEmpty());
}

TEST_F(ValidateTest, WithNamesTheOnlyClusterTakesWhomItSays) {
  config_.server_names = {"B.example", "*.a.example."};
  EXPECT_EQ(check().default_cluster, std::nullopt);
  EXPECT_THAT(check().clusters[0].server_names, ElementsAre("*.a.example", "b.example"));
  config_.default_for = DefaultFor::unnamed;
  EXPECT_EQ(check().default_cluster, 0u);
  EXPECT_EQ(check().clusters[0].config.default_for, DefaultFor::unnamed);
  EXPECT_TRUE(check().valid());
}

TEST_F(ValidateTest, RefusesNamesThatNoClientSends) {
  config_.server_names = {"a b", "10.0.0.1", "c.example", "C.example."};
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--server-names=\"a b\": write a host name like"),
                          HasSubstr("--server-names=\"10.0.0.1\": clients that dial an address"),
                          "--server-names=\"C.example.\" is given twice: keep one of them."));
}

TEST_F(ValidateTest, NamesWhatIsMissing) {
  config_ = Config{};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend is missing"),
                                      HasSubstr("--tls-cert-file is missing"),
                                      HasSubstr("--tls-private-key-file is missing"),
                                      HasSubstr("--backend-ca-file is missing")));
}

TEST_F(ValidateTest, FindsAllMistakesInOneGo) {
  config_.backends = {"api..example:6443", "10.0.0.1:6443", "10.0.0.1:6443"};
  config_.tls_cert_file = "none.crt";
  config_.client_ca_file = "none.ca";
  config_.proxy_client_key_file.clear();
  config_.backend_ping_timeout = 11s;
  config_.http2_stream_window_bytes = 32 << 20;
  config_.requestheader_username_headers = {"X Remote"};
  const Validation result = check();
  EXPECT_THAT(result.mistakes, SizeIs(8));
  EXPECT_THAT(result.report(), HasSubstr("configuration is not valid: 8 mistakes\n"));
}

TEST_F(ValidateTest, TakesNamesOfBackendsBesideAddresses) {
  config_.backends = {"API.example.:6443", "10.0.0.1:6443", "other.example:6443"};
  const Validation result = check();
  EXPECT_THAT(result.mistakes, IsEmpty());
  const CheckedCluster& cluster = result.clusters.at(0);
  EXPECT_THAT(cluster.backends, SizeIs(1));
  EXPECT_THAT(cluster.backend_names, ElementsAre(discovery::Target{"api.example", 6443},
                                                 discovery::Target{"other.example", 6443}));
}

TEST_F(ValidateTest, RefusesABackendsNameThatCannotBeWithASentence) {
  config_.backends = {"api..example:6443", "api.example:0", "a.example:1", "A.example:1"};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend: \"api..example:6443\" is no host name"),
                                      HasSubstr("--backend: \"api.example:0\" has an impossible"),
                                      HasSubstr("--backend=\"A.example:1\" is given twice")));
}

TEST_F(ValidateTest, ABackendFileIsEnoughAndWhatIsWrongWithItIsAWarning) {
  config_.backends.clear();
  config_.backend_file = "backends";
  files_["backends"] = "10.0.0.1:6443\napi.example:6443\n";
  const Validation good = check();
  EXPECT_THAT(good.mistakes, IsEmpty());
  ASSERT_TRUE(good.clusters.at(0).backend_file.has_value());
  EXPECT_THAT(good.clusters.at(0).backend_file->places, SizeIs(2));
  for (const char* text : {"", "10.0.0.1", "0.0.0.0:1"}) {
    files_["backends"] = text;
    const Validation bad = check();
    EXPECT_THAT(bad.mistakes, IsEmpty());
    EXPECT_THAT(bad.warnings, Contains(HasSubstr("--backend-file=backends cannot")));
    EXPECT_THAT(bad.clusters.at(0).backend_file->places, IsEmpty());
    EXPECT_NE(bad.clusters.at(0).backend_file->error, "");
  }
}

std::string kubeconfig_of(const std::string& user) {
  return "current-context: x\n"
         "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
         "clusters: [{name: c, cluster: {server: 'https://management.example', "
         "certificate-authority: ca.crt}}]\n"
         "users: [{name: u, user: {" +
         user + "}}]\n";
}

TEST_F(ValidateTest, AKubeconfigIsEnoughAndItsFilesAreReadBesideIt) {
  config_.backends.clear();
  config_.discovery_kubeconfig = "management/config";
  config_.discovery_namespace = "control-plane";
  config_.discovery_service = "api";
  files_["management/config"] = kubeconfig_of("tokenFile: token");
  files_["management/ca.crt"] = files_.at(config_.backend_ca_file);
  files_["management/token"] = "secret\n";
  const Validation good = check();
  EXPECT_THAT(good.mistakes, IsEmpty());
  ASSERT_TRUE(good.clusters.at(0).slices.has_value());
  const discovery::SliceOptions& slices = *good.clusters[0].slices;
  EXPECT_EQ(slices.server, discovery::Place(discovery::Target{"management.example", 443}));
  EXPECT_EQ(slices.server_name, "management.example");
  EXPECT_EQ(slices.token.text(), "secret");
  EXPECT_EQ(slices.tls.ca_pem, files_["management/ca.crt"]);
  files_["management/token"] = "sec\nret";
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("its token is no token")));
  files_.erase("management/token");
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("\"management/token\" cannot be read")));
  files_["management/config"] = kubeconfig_of("exec: {command: aws}");
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("would have to be executed")));
  files_["management/ca.crt"] = "nonsense";
  files_["management/config"] = kubeconfig_of("token: secret");
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--discovery-kubeconfig=\"management/config\"")));
}

TEST_F(ValidateTest, WhatLeadsToNoServiceIsRefused) {
  config_.discovery_namespace = "control-plane";
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--discovery-namespace has no effect without")));
  config_.discovery_kubeconfig = "config";
  config_.discovery_namespace = "Control/plane";
  config_.discovery_port_name = "-";
  files_["config"] = kubeconfig_of("token: secret");
  files_["ca.crt"] = files_.at(config_.backend_ca_file);
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--discovery-namespace=\"Control/plane\" is no name"),
                          HasSubstr("--discovery-service=\"\" is no name"),
                          HasSubstr("--discovery-port-name=\"-\" is no name")));
}

TEST_F(ValidateTest, ApiServersThatNameEachOtherAreFollowedInNetworksAtOnePort) {
  config_.backends = {"10.0.0.1:6443", "api.example:6443"};
  config_.backend_discovery = "self";
  config_.backend_networks = {"10.0.0.0/24", "fd00::/64"};
  const Validation good = check();
  EXPECT_THAT(good.mistakes, IsEmpty());
  ASSERT_TRUE(good.clusters.at(0).own_slice.has_value());
  EXPECT_EQ(good.clusters[0].own_slice->port, 6443);
  EXPECT_THAT(good.clusters[0].own_slice->networks, SizeIs(2));
  config_.backends = {"10.0.0.1:6443"};
  EXPECT_THAT(check().notes, Not(Contains(HasSubstr("There is one backend only"))));
  config_.hibernated = true;
  EXPECT_FALSE(check().clusters.at(0).own_slice.has_value());
}

TEST_F(ValidateTest, WithoutNetworksOnePortAndAFrontProxyPairApiServersDoNotNameEachOther) {
  config_.backend_discovery = "self";
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--backend-discovery=self needs --backend-networks")));
  config_.backend_networks = {"10.0.0.0/8", "0.0.0.0/0", "10.0.0.1/8"};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend-networks: "),
                                      HasSubstr("--backend-networks=0.0.0.0/0 has every address")));
  config_.backend_networks = {"10.0.0.0/8"};
  config_.backends.push_back("10.0.0.4:443");
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend=\"10.0.0.4:443\" has another port than "
                                                "\"10.0.0.1:6443\"")));
  config_.backends = {};
  config_.backend_file = "backends";
  files_["backends"] = "10.0.0.1:6443\n";
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend-discovery=self needs --backend=")));
  config_.backends = {"10.0.0.1:6443"};
  config_.proxy_client_cert_file = "";
  config_.proxy_client_key_file = "";
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("needs --client-ca-file, --proxy-client-cert-file")));
}

TEST_F(ValidateTest, RefusesWaysToFindBackendsThatThereAreNot) {
  config_.backend_networks = {"10.0.0.0/8"};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend-networks has no effect without")));
  config_.backend_discovery = "others";
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend-discovery=\"others\" is no way")));
}

TEST_F(ValidateTest, RefusesServersOfNamesThatCannotBeAsked) {
  config_.dns_servers = {"10.0.0.53:53", "[fd00::53]:53", "dns.example:53", "10.0.0.53:53",
                         "0.0.0.0:53"};
  const Validation result = check();
  EXPECT_THAT(result.dns_servers, SizeIs(2));
  EXPECT_THAT(result.mistakes,
              ElementsAre(HasSubstr("names are not resolved here"), HasSubstr("is given twice"),
                          HasSubstr("nothing can be reached there")));
}

TEST_F(ValidateTest, RefusesBackendsThatCannotBe) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> table = {
      {{"10.0.0.1"}, "the port is missing"},
      {{"10.0.0.1:70000"}, "the port must be a number"},
      {{"fd00::1:6443"}, "brackets"},
      {{"10.0.0.1:0"}, "nothing can be reached there"},
      {{"0.0.0.0:6443"}, "nothing can be reached there"},
      {{"10.0.0.1:6443", "10.0.0.1:6443"}, "is given twice"},
      {{""}, "the port is missing"},
  };
  for (const auto& [backends, sentence] : table) {
    config_.backends = backends;
    EXPECT_THAT(mistakes(), ElementsAre(HasSubstr(sentence))) << backends[0];
  }
}

TEST_F(ValidateTest, RefusesMoreBackendsThanFit) {
  config_.backends.clear();
  for (int i = 1; i <= 65; ++i) config_.backends.push_back("10.0.1." + std::to_string(i) + ":6443");
  EXPECT_THAT(mistakes(), ElementsAre("--backend is given 65 times: at most 64 are possible."));
}

TEST_F(ValidateTest, RefusesACircle) {
  config_.listen = {"127.0.0.1:6443"};
  config_.backends = {"127.0.0.1:6443"};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("requests would run in a circle")));
  config_.listen = {"0.0.0.0:6443"};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("requests would run in a circle")));
  config_.backends = {"127.0.0.1:6444"};
  EXPECT_TRUE(check().valid());
}

TEST_F(ValidateTest, RefusesListenersInEachOthersWay) {
  config_.listen = {"0.0.0.0:6443", "127.0.0.1:6443"};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("overlaps with --listen=\"0.0.0.0:6443\"")));
  config_.listen = {"127.0.0.1:9180"};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--admin-listen=\"127.0.0.1:9180\" overlaps")));
  config_.listen = {"gateway.example:6443"};
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--listen=\"gateway.example:6443\": names are not resolved")));
  config_.listen = {};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--listen is empty")));
}

TEST_F(ValidateTest, TakesTheNetworksOfBalancersAndRefusesWhatIsNone) {
  config_.proxy_protocol_from = {"10.0.0.0/8", "192.0.2.7", "fd00::/8"};
  const Validation result = check();
  EXPECT_TRUE(result.valid());
  EXPECT_THAT(result.warnings, IsEmpty());
  ASSERT_THAT(result.proxy_protocol_from, SizeIs(3));
  EXPECT_EQ(result.proxy_protocol_from[1].to_string(), "192.0.2.7/32");
  config_.proxy_protocol_from = {"10.0.0.1/8", "balancer.example", "fd00::/129", "10.0.0.0/8"};
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--proxy-protocol-from: \"10.0.0.1/8\" is no network of the "
                                    "form 192.0.2.0/24 or 2001:db8::/32: it has bits behind"),
                          HasSubstr("\"balancer.example\" is no network"),
                          HasSubstr("a number from 0 to 128")));
  config_.proxy_protocol_from = {"192.0.2.7", "192.0.2.7/32"};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--proxy-protocol-from=192.0.2.7/32 is given "
                                                "twice")));
}

TEST_F(ValidateTest, TakesTheNetworksOfExemptClientsAndWarnsWhenAllAre) {
  config_.exempt_clients = {"10.1.0.0/16", "10.1.0.1/16", "0.0.0.0/0"};
  const Validation result = check();
  EXPECT_THAT(result.mistakes, ElementsAre(HasSubstr("--exempt-clients: \"10.1.0.1/16\" is no")));
  EXPECT_THAT(result.warnings, ElementsAre(HasSubstr("--exempt-clients=0.0.0.0/0: nobody")));
  ASSERT_THAT(result.exempt_clients, SizeIs(2));
  EXPECT_EQ(result.exempt_clients[0].to_string(), "10.1.0.0/16");
}

TEST_F(ValidateTest, AHibernatedClusterNeedsNoBackendsAndUsesNone) {
  config_.hibernated = true;
  EXPECT_TRUE(check().valid());
  EXPECT_THAT(check().clusters[0].backends, IsEmpty());
  EXPECT_THAT(check().clusters[0].backend_server_names, IsEmpty());
  EXPECT_THAT(check().notes, ElementsAre(HasSubstr("It hibernates: ")));
  config_.backends.clear();
  config_.backend_ca_file.clear();
  EXPECT_TRUE(check().valid());
  // What stands there counts again one day, and is right then.
  config_.backends = {"10.0.0.1"};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("10.0.0.1")));
  config_.hibernated = false;
  config_.backends.clear();
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend is missing"),
                                      HasSubstr("--backend-ca-file is missing")));
}

class PassThroughTest : public ValidateTest {
 protected:
  // Nothing but where to.
  void only_pass() {
    const Config empty;
    static_cast<ClusterConfig&>(config_) = empty;
    config_.pass_through = {"10.0.0.1:6443", "10.0.0.2:6443"};
  }
};

TEST_F(PassThroughTest, NeedsNothingButTargets) {
  only_pass();
  for (const Mode mode : {Mode::automatic, Mode::l4}) {
    config_.mode = mode;
    const Validation result = check();
    EXPECT_TRUE(result.valid()) << result.report();
    EXPECT_THAT(result.warnings, IsEmpty());
    const CheckedCluster& cluster = result.clusters[0];
    EXPECT_EQ(cluster.config.mode, Mode::l4);
    ASSERT_THAT(cluster.pass_through, SizeIs(2));
    EXPECT_EQ(cluster.pass_through[1].to_string(), "10.0.0.2:6443");
    EXPECT_THAT(cluster.backends, IsEmpty());
  }
  config_.mode = Mode::l7;
  EXPECT_THAT(mistakes(), Contains(HasSubstr("--backend is missing")));
}

TEST_F(PassThroughTest, TargetsAreAddressesOfSomebodyElse) {
  only_pass();
  config_.listen = {"127.0.0.1:6443"};
  config_.pass_through = {"127.0.0.1:6443", "api.example:6443", "10.0.0.1:0", "10.0.0.2:1",
                          "10.0.0.2:1"};
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--pass-through=\"127.0.0.1:6443\" is our own --listen"),
                          HasSubstr("--pass-through=\"api.example:6443\": names are not resolved"),
                          HasSubstr("--pass-through=\"10.0.0.1:0\": nothing can be reached there"),
                          HasSubstr("--pass-through=\"10.0.0.2:1\" is given twice")));
  config_.pass_through.clear();
  for (int i = 0; i < 65; ++i) config_.pass_through.push_back("10.0.0.1:" + std::to_string(1 + i));
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--pass-through is given 65 times")));
}

TEST_F(PassThroughTest, AClusterMayHaveWhatBothModesNeed) {
  config_.pass_through = {"10.0.0.1:6443"};
  for (const Mode mode : {Mode::automatic, Mode::l7}) {
    config_.mode = mode;
    EXPECT_TRUE(check().valid());
    EXPECT_EQ(check().clusters[0].config.mode, Mode::l7);
    EXPECT_THAT(check().clusters[0].backends, SizeIs(3));
    EXPECT_THAT(check().clusters[0].pass_through, IsEmpty());
  }
  config_.mode = Mode::l4;
  const Validation result = check();
  EXPECT_TRUE(result.valid());
  EXPECT_THAT(result.warnings, IsEmpty());
  EXPECT_THAT(result.clusters[0].backends, IsEmpty());
  EXPECT_TRUE(result.clusters[0].files.tls_cert_pem.empty());
  EXPECT_THAT(result.clusters[0].pass_through, SizeIs(1));
}

// It is the way out of just that.
TEST_F(PassThroughTest, WhatIsWrongWithTheOtherModeIsAWarning) {
  config_.pass_through = {"10.0.0.1:6443"};
  config_.mode = Mode::l4;
  files_["tls.crt"] = "nonsense";
  config_.backends = {"nonsense"};
  const Validation result = check();
  EXPECT_TRUE(result.valid()) << result.report();
  EXPECT_THAT(result.warnings, ElementsAre(HasSubstr("--backend: \"nonsense\" has no port"),
                                           HasSubstr("--tls-cert-file=\"tls.crt\" is no PEM")));
  for (const std::string& warning : result.warnings) {
    EXPECT_THAT(warning, HasSubstr("With --mode=l7"));
  }
  EXPECT_THAT(result.clusters[0].pass_through, SizeIs(1));
}

TEST_F(PassThroughTest, SaysWhatCannotBeTogether) {
  config_.mode = Mode::l4;
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--mode=l4 needs to know where to")));
  only_pass();
  config_.mode = Mode::l4;
  config_.hibernated = true;
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--hibernated needs --mode=l7")));
  only_pass();
  config_.anonymous_auth = false;
  config_.client_cert_strict = true;
  config_.tls_min_version = tls::Version::tls1_3;
  EXPECT_TRUE(check().valid());
  EXPECT_THAT(check().warnings, ElementsAre(HasSubstr("--anonymous-auth has no effect"),
                                            HasSubstr("--client-cert-strict has no effect"),
                                            HasSubstr("--tls-min-version has no effect")));
}

TEST_F(ValidateTest, TakesTheNetworksThatAClusterServes) {
  config_.allowed_networks = {"10.1.0.0/16", "fd00::/8", "192.0.2.7"};
  const Validation result = check();
  EXPECT_TRUE(result.valid());
  EXPECT_THAT(result.warnings, IsEmpty());
  ASSERT_THAT(result.clusters[0].allowed_networks, SizeIs(3));
  EXPECT_EQ(result.clusters[0].allowed_networks[2].to_string(), "192.0.2.7/32");
  config_.allowed_networks = {"10.1.0.1/16", "fd00::/8", "fd00::/8"};
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--allowed-networks: \"10.1.0.1/16\" is no"),
                                      HasSubstr("--allowed-networks=fd00::/8 is given twice")));
}

TEST_F(ValidateTest, WhatIsQuotedDisturbsNoTerminal) {
  const std::string odd = std::string("10.0.0.1\x1b[2J\0\n", 13);
  config_.exempt_clients = {odd};
  config_.proxy_protocol_from = {odd};
  config_.listen = {odd};
  config_.backends = {odd};
  config_.admin_listen = odd;
  const auto all = mistakes();
  EXPECT_THAT(all, SizeIs(testing::Ge(5U)));
  for (const std::string& sentence : all) {
    EXPECT_EQ(sentence.find_first_of(std::string_view("\x1b\0\n", 3)), std::string::npos);
  }
}

TEST_F(ValidateTest, WarnsWhenEverybodyMayClaimToBeAnybody) {
  for (const std::string everybody : {"0.0.0.0/0", "::/0"}) {
    config_.proxy_protocol_from = {everybody};
    EXPECT_TRUE(check().valid());
    EXPECT_THAT(check().warnings,
                ElementsAre(HasSubstr("--proxy-protocol-from=" + everybody +
                                      ": whoever can connect may claim to be any client")));
  }
}

TEST_F(ValidateTest, WarnsWhenTheAdminAddressIsOpen) {
  config_.admin_listen = "0.0.0.0:9180";
  EXPECT_THAT(check().warnings, ElementsAre(HasSubstr("can be reached from outside")));
  config_.admin_listen = "[::1]:9180";
  EXPECT_THAT(check().warnings, IsEmpty());
}

TEST_F(ValidateTest, RunsWithoutAdminAddress) {
  config_.admin_listen.clear();
  const Validation result = check();
  EXPECT_TRUE(result.valid());
  EXPECT_THAT(result.admin_listen, IsEmpty());
  EXPECT_THAT(result.notes, SizeIs(1));
}

TEST_F(ValidateTest, SaysThatItRunsAsAPlainBalancer) {
  config_.client_ca_file.clear();
  EXPECT_THAT(check().notes,
              ElementsAre(HasSubstr("--client-ca-file is not given: it runs as a plain balancer")));
  EXPECT_FALSE(check().clusters[0].vouches_for_identity);
  SetUp();
  config_.proxy_client_cert_file.clear();
  config_.proxy_client_key_file.clear();
  EXPECT_THAT(check().notes,
              ElementsAre(HasSubstr("--proxy-client-cert-file is not given: it runs as a plain")));
  EXPECT_TRUE(check().valid());
  EXPECT_FALSE(check().clusters[0].vouches_for_identity);
}

TEST_F(ValidateTest, RefusesHalfAPair) {
  config_.proxy_client_key_file.clear();
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("write both or none")));
  SetUp();
  config_.proxy_client_cert_file.clear();
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("write both or none")));
}

TEST_F(ValidateTest, RefusesAFrontProxyCertificateThatIsAUser) {
  const auto user = test::issue_client(material().client_ca, "front-proxy-client");
  files_["proxy.crt"] = user.pem();
  files_["proxy.key"] = user.key_pem();
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--proxy-client-cert-file=\"proxy.crt\" verifies under "
                                    "--client-ca-file=\"client-ca.crt\"")));
}

TEST_F(ValidateTest, RefusesAFrontProxyCertificateThatABundleMakesAUser) {
  files_["client-ca.crt"] = material().client_ca.pem() + material().front_proxy_ca.pem();
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("verifies under --client-ca-file")));
}

TEST_F(ValidateTest, RefusesAKeyOfAnotherCertificate) {
  files_["tls.key"] = files_["proxy.key"];
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--tls-private-key-file=\"tls.key\" does not go with "
                                    "--tls-cert-file=\"tls.crt\"")));
  SetUp();
  files_["proxy.key"] = files_["tls.key"];
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--proxy-client-key-file=\"proxy.key\" does not go with")));
}

TEST_F(ValidateTest, RefusesCertificatesOutOfTime) {
  test::Specification specification;
  specification.subject = test::name("gateway");
  specification.not_after = now - 1s;
  auto late = test::issue(material().serving_ca, specification);
  files_["tls.crt"] = late.pem();
  files_["tls.key"] = late.key_pem();
  EXPECT_THAT(
      mistakes(),
      ElementsAre(HasSubstr("--tls-cert-file=\"tls.crt\" expired at 2027-01-15 07:59:59 UTC")));
  specification.not_before = now + 1s;
  specification.not_after = now + 1000h;
  const auto early = test::issue(material().serving_ca, specification);
  files_["tls.crt"] = early.pem();
  files_["tls.key"] = early.key_pem();
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("is not valid before 2027-01-15 08:00:01 UTC")));
}

TEST_F(ValidateTest, WarnsAWeekBeforeACertificateExpires) {
  test::Specification specification;
  specification.subject = test::name("front-proxy-client");
  specification.not_after = now + 24h * 7 - 1s;
  const auto soon = test::issue(material().front_proxy_ca, specification);
  files_["proxy.crt"] = soon.pem();
  files_["proxy.key"] = soon.key_pem();
  EXPECT_THAT(check().warnings,
              ElementsAre(HasSubstr("--proxy-client-cert-file=proxy.crt expires at")));
  EXPECT_TRUE(check().valid());
}

TEST_F(ValidateTest, RefusesWhatIsNoPem) {
  for (const std::string_view flag_and_file :
       {"tls-cert-file=tls.crt", "client-ca-file=client-ca.crt", "backend-ca-file=backend-ca.crt",
        "proxy-client-cert-file=proxy.crt", "tls-private-key-file=tls.key"}) {
    SetUp();
    const std::string flag(flag_and_file.substr(0, flag_and_file.find('=')));
    const std::string file(flag_and_file.substr(flag_and_file.find('=') + 1));
    files_[file] = "not PEM at all";
    EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--" + flag + "=\"" + file + "\""))) << flag;
    files_[file] = "";
    EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--" + flag + "=\"" + file + "\" is empty")))
        << flag;
    files_.erase(file);
    EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("cannot be read (No such file or directory)")))
        << flag;
  }
}

// As an API server takes it: it is trusted itself.
TEST_F(ValidateTest, WarnsOfALeafAsAuthority) {
  files_["client-ca.crt"] = files_["tls.crt"];
  EXPECT_THAT(mistakes(), IsEmpty());
  EXPECT_THAT(check().warnings,
              Contains(HasSubstr("--client-ca-file=client-ca.crt: certificate 1: it is no CA "
                                 "certificate; nothing that it signs is believed")));
}

TEST_F(ValidateTest, LooksAtEachAuthoritysEnd) {
  test::Specification specification;
  specification.subject = test::name("old-ca");
  specification.ca = true;
  specification.not_after = now - 1s;
  const auto old = test::make_ca(specification);
  files_["backend-ca.crt"] = material().serving_ca.pem() + old.pem();
  EXPECT_THAT(check().warnings, ElementsAre(HasSubstr("1 of its 2 CA certificates have expired")));
  EXPECT_TRUE(check().valid());
  files_["backend-ca.crt"] = old.pem();
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("all its CA certificates have expired")));
}

TEST_F(ValidateTest, WarnsOfNamesThatTheCertificateDoesNotHave) {
  config_.server_names = {"Gateway.example", "*.gateway.example", "b.example"};
  EXPECT_TRUE(check().valid());
  EXPECT_THAT(check().warnings,
              ElementsAre(HasSubstr("--server-names=*.gateway.example is no name of "
                                    "--tls-cert-file=tls.crt: clients that verify it"),
                          HasSubstr("--server-names=b.example is no name of")));
  const test::Certificate wide = test::issue_server(
      material().serving_ca, {"gateway.example", "*.gateway.example", "b.example"});
  files_["tls.crt"] = wide.pem();
  files_["tls.key"] = wide.key_pem();
  EXPECT_THAT(check().warnings, IsEmpty());
  // One that cannot be read has no names either, and that is said already.
  files_["tls.crt"] = "nonsense";
  EXPECT_THAT(check().warnings, IsEmpty());
}

TEST_F(ValidateTest, WarnsOfAKeyThatEverybodyMayRead) {
  open_ = {"tls.key", "tls.crt"};
  EXPECT_THAT(check().warnings,
              ElementsAre(HasSubstr("--tls-private-key-file=tls.key may be read by everybody")));
}

TEST_F(ValidateTest, RefusesStrictnessWithoutAuthority) {
  config_.client_cert_strict = true;
  EXPECT_TRUE(check().valid());
  config_.client_ca_file.clear();
  EXPECT_THAT(
      mistakes(),
      ElementsAre(HasSubstr("--client-cert-strict has no effect without --client-ca-file")));
}

TEST_F(ValidateTest, RefusesConflictingTimeouts) {
  config_.backend_ping_timeout = config_.backend_ping_interval + 1ms;
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend-ping-timeout=10.001s is longer than "
                                                "--backend-ping-interval=10s")));
  SetUp();
  config_.backend_ping_timeout = 5s;
  config_.probe_timeout = 11s;
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--probe-timeout=11s")));
  config_.probe_timeout = 1s;
  config_.backend_connect_timeout = 75s;
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--backend-connect-timeout=1m15s is not shorter than")));
  config_.backend_connect_timeout = 3s;
  config_.backend_connection_age_max = 60s;
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend-idle-timeout=1m15s is longer than")));
}

TEST_F(ValidateTest, WarnsOfTimeoutsThatCollideWithTheServers) {
  config_.backend_idle_timeout = 90s;
  config_.request_timeout = 60s;
  EXPECT_THAT(check().warnings, ElementsAre(HasSubstr("--backend-idle-timeout=1m30s"),
                                            HasSubstr("--request-timeout=1m")));
}

TEST_F(ValidateTest, RefusesConflictingSizes) {
  config_.http2_stream_window_bytes_max = 32 << 20;
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--http2-stream-window-bytes-max=32MiB is larger than "
                                    "--http2-connection-window-bytes=16MiB")));
  config_.http2_stream_window_bytes_max = 65536;
  config_.http2_stream_window_bytes = 128 << 10;
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--http2-stream-window-bytes=128KiB is larger than "
                                                "--http2-stream-window-bytes-max=64KiB")));
  config_.http2_stream_window_bytes = 65536;
  config_.replay_body_bytes = 128 << 20;
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--replay-body-bytes=128MiB is larger than")));
  config_.replay_body_bytes = 0;
  config_.receive_buffers = 100;
  config_.receive_buffer_bytes = 20000;
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--receive-buffer-bytes=20000 is no power of two"),
                                      HasSubstr("--receive-buffers=100 is no power of two")));
  config_.receive_buffers = 256;
  config_.receive_buffer_bytes = 16384;
  config_.suspect_streams_per_connection = 8;
  config_.backend_streams_per_connection = 4;
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--suspect-streams-per-connection=8 is more than")));
}

TEST_F(ValidateTest, FitsConnectionsIntoTheDescriptorLimit) {
  environment_.descriptors_max = 64;
  Validation small = check();
  EXPECT_TRUE(small.valid());
  EXPECT_EQ(small.config.client_connections_max, 32u);
  EXPECT_THAT(small.warnings, ElementsAre(HasSubstr("At most 32 clients can be connected")));
  config_.client_connections_max = 33;
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr("--client-connections-max=33 does not fit into the descriptor "
                                    "limit of 64")));
  environment_.descriptors_max = 1'048'576;
  config_.client_connections_max = 500'000;
  EXPECT_TRUE(check().valid());
  EXPECT_THAT(check().warnings, IsEmpty());
}

TEST_F(ValidateTest, WarnsOfMoreWorkersThanCpus) {
  config_.workers = 9;
  EXPECT_THAT(check().warnings, ElementsAre(HasSubstr("--workers=9")));
  EXPECT_EQ(check().config.workers, 9u);
}

TEST_F(ValidateTest, RefusesNamesThatAreNoFields) {
  config_.requestheader_username_headers = {"X-Remote-User:"};
  config_.requestheader_group_headers = {};
  config_.requestheader_extra_headers_prefix = {"Authorization"};
  config_.requestheader_uid_headers = {"x-remote-uid", "Impersonate-Uid", "X-REMOTE-UID"};
  EXPECT_THAT(
      mistakes(),
      ElementsAre(HasSubstr("--requestheader-username-headers=\"X-Remote-User:\" is no field"),
                  HasSubstr("--requestheader-group-headers is empty"),
                  HasSubstr("--requestheader-extra-headers-prefix=\"Authorization\" is a field"),
                  HasSubstr("--requestheader-uid-headers=\"Impersonate-Uid\" is a field"),
                  HasSubstr("--requestheader-uid-headers=\"X-REMOTE-UID\" is in")));
}

TEST_F(ValidateTest, NeedsNoUidHeader) {
  config_.requestheader_uid_headers.clear();
  EXPECT_TRUE(check().valid());
}

TEST_F(ValidateTest, RefusesPathsAndNamesThatCannotBeSent) {
  for (const std::string path : {"readyz", "", "/ready z", "/readyz#x", "/\r\nX: y", "/\xff"}) {
    config_.backend_readiness_path = path;
    EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend-readiness-path="))) << path;
  }
  config_.backend_readiness_path = "/readyz?verbose";
  for (const std::string name : {"a b", "a..b", ".a", "a/b"}) {
    config_.backend_server_name = name;
    EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("--backend-server-name="))) << name;
  }
}

TEST_F(ValidateTest, RefusesALogThatCannotBeWritten) {
  environment_.may_append = [](const std::string&) -> Result<void> {
    return fail(ErrorKind::system, "Permission denied");
  };
  EXPECT_TRUE(check().valid());
  config_.access_log = "-";
  EXPECT_TRUE(check().valid());
  config_.access_log = "/var/log/access";
  EXPECT_THAT(mistakes(),
              ElementsAre(HasSubstr(
                  "--access-log=\"/var/log/access\" cannot be written (Permission denied)")));
}

TEST_F(ValidateTest, EverySentenceEndsWithAPeriod) {
  config_ = Config{};
  config_.backends = {"x", "api:1", "0.0.0.0:1"};
  config_.tls_cert_file = "none";
  config_.listen = {"y"};
  config_.admin_listen = "0.0.0.0:1";
  const Validation result = check();
  for (const auto* list : {&result.mistakes, &result.warnings, &result.notes}) {
    for (const std::string& sentence : *list) EXPECT_EQ(sentence.back(), '.') << sentence;
  }
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("--listen")));
}

}  // namespace
}  // namespace sluice::config
