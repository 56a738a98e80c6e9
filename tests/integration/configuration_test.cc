// SPDX-License-Identifier: GPL-3.0-or-later
// Flags, admin pages, and peers that are no HTTP/2 clients at all.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "harness.h"

namespace sluice::test {
namespace {

class ConfigurationTest : public IntegrationTest {
 protected:
  Flags good_flags() const {
    return {"--listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
            "--tls-cert-file=" + credentials.file("gateway.crt"),
            "--tls-private-key-file=" + credentials.file("gateway.key"),
            "--backend=127.0.0.1:1",
            "--backend-ca-file=" + credentials.file("ca.crt"),
            "--client-ca-file=" + credentials.file("client-ca.crt"),
            "--proxy-client-cert-file=" + credentials.file("front-proxy-client.crt"),
            "--proxy-client-key-file=" + credentials.file("front-proxy-client.key")};
  }
  static Flags with(Flags flags, std::initializer_list<std::string> more) {
    for (const std::string& flag : more) {
      std::erase_if(flags, [&](const std::string& other) {
        return other.substr(0, other.find('=')) == flag.substr(0, flag.find('='));
      });
      flags.push_back(flag);
    }
    return flags;
  }
};

TEST_F(ConfigurationTest, WrongFlagsAreAnsweredBySentencesAndExitCode2) {
  struct Wrong {
    std::string flag;
    std::string value;
  };
  for (const auto& [flag, value] :
       std::vector<Wrong>{{"--backend", "api.example.org"},
                          {"--backend", "127.0.0.1"},
                          {"--balance", "cleverest"},
                          {"--workers", "many"},
                          {"--drain-timeout", "soon"},
                          {"--listen", "127.0.0.1:99999"},
                          {"--tls-cert-file", "/nowhere/at.all"},
                          {"--tls-private-key-file", credentials.file("alice.key")},
                          {"--backend-ca-file", credentials.file("tokens.csv")},
                          {"--http2-stream-window-bytes", "-1"},
                          {"--receive-buffer-bytes", "12345"},
                          {"--log-level", "loud"}}) {
    const Finished finished = run_sluice(with(good_flags(), {flag + "=" + value}));
    EXPECT_EQ(finished.code, 2) << flag << "=" << value << ": " << finished.err;
    EXPECT_TRUE(finished.err.contains(flag)) << finished.err;
    EXPECT_TRUE(value.contains('/') || finished.err.contains(value)) << finished.err;
    EXPECT_TRUE(finished.err.contains('.')) << finished.err;
  }
}

TEST_F(ConfigurationTest, AllMistakesAreSaidInOneGo) {
  const Finished finished =
      run_sluice(with(good_flags(), {"--balance=cleverest", "--drain-timeout=soon",
                                     "--backend=name", "--no-such-flag=1"}));
  EXPECT_EQ(finished.code, 2);
  for (const std::string flag : {"--balance", "--drain-timeout", "--backend", "--no-such-flag"}) {
    EXPECT_TRUE(finished.err.contains(flag)) << finished.err;
  }
  const Finished nothing = run_sluice({});
  EXPECT_EQ(nothing.code, 2);
  for (const std::string flag :
       {"--tls-cert-file", "--tls-private-key-file", "--backend", "--backend-ca-file"}) {
    EXPECT_TRUE(nothing.err.contains(flag)) << nothing.err;
  }
}

TEST_F(ConfigurationTest, CheckValidatesWithoutStarting) {
  const Finished good = run_sluice(with(good_flags(), {"--check"}));
  EXPECT_EQ(good.code, 0) << good.out << good.err;
  const Finished bad =
      run_sluice(with(good_flags(), {"--check", "--tls-cert-file=/nowhere", "--balance=x"}));
  EXPECT_EQ(bad.code, 2);
  EXPECT_TRUE(bad.out.contains("/nowhere")) << bad.out << bad.err;
}

TEST_F(ConfigurationTest, ACheckedClientCertificateIsSomebodyOrNobody) {
  TemporaryDirectory directory;
  const auto check = [&](const Certificate& certificate) {
    write_file(directory.file("client.crt"), certificate.pem());
    return run_sluice({"--check", "--check-client-cert-file=" + directory.file("client.crt"),
                       "--client-ca-file=" + credentials.file("client-ca.crt")});
  };
  const Finished alice = check(credentials.alice);
  EXPECT_EQ(alice.code, 0) << alice.out << alice.err;
  EXPECT_TRUE(alice.out.contains("user: alice\n")) << alice.out;
  for (const Certificate* nobody :
       {&credentials.expired, &credentials.foreign, &credentials.nameless}) {
    const Finished finished = check(*nobody);
    EXPECT_EQ(finished.code, 2) << finished.out;
    EXPECT_TRUE((finished.out + finished.err).contains("nobody: ")) << finished.out << finished.err;
  }
}

TEST_F(ConfigurationTest, VersionNamesTheLibraries) {
  const Finished version = run_sluice({"--version"});
  EXPECT_EQ(version.code, 0);
  for (const std::string part :
       {"sluice ", "wolfSSL ", "nghttp2 ", "llhttp ", "liburing ", "c-ares ", "libyaml ", "JSON ",
        "zlib ", "fmt ", "mimalloc", "accelerated"}) {
    EXPECT_TRUE(version.out.contains(part)) << version.out;
  }
  const Finished help = run_sluice({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_TRUE(help.out.contains("--backend-readiness-path")) << help.out;
}

TEST_F(ConfigurationTest, AnAddressInUseIsASentenceAndNoStart) {
  start();
  const Finished second =
      run_sluice(with(good_flags(), {"--listen=" + free_address().to_string(),
                                     "--admin-listen=" + sluice->admin().to_string()}));
  EXPECT_EQ(second.code, 1) << second.err;
  EXPECT_TRUE(second.err.contains(sluice->admin().to_string())) << second.err;
}

TEST_F(ConfigurationTest, WithoutClientCaItIsAPlainBalancerAndSaysSo) {
  start_apisim();
  start_sluice({.identities = false});
  EXPECT_TRUE(eventually([&] { return sluice->child().log().contains("--client-ca-file"); }, 5s));
  const auto client = connect(&credentials.alice);
  ASSERT_TRUE(client->ready());
  EXPECT_EQ(client->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  // Nobody's certificate counts; what clients claim goes in any case.
  client->fetch({.path = std::string(object_path), .fields = {{"x-remote-user", "forged"}}});
  for (const Apisim::Seen& seen : apisim->seen()) {
    EXPECT_TRUE(seen.values("x-remote-user").empty());
    EXPECT_NE(seen.peer, "front-proxy");
  }
}

TEST_F(ConfigurationTest, BackendsAreNeverUsedUnverified) {
  start_apisim();
  start_sluice(
      {.flags = {"--backend-ca-file=" + credentials.file("gateway-ca.crt")}, .wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  EXPECT_TRUE(sluice->page("/readyz").body.contains("no backend is ready"));
  const auto client = connect(&credentials.alice);
  ASSERT_TRUE(client->ready());
  EXPECT_GE(client->fetch({.path = std::string(object_path)}, 20s).status, 500);
  EXPECT_GE(client->fetch({.path = std::string(object_path), .fields = bearer()}, 20s).status, 500);
  EXPECT_EQ(apisim->total({"requests_total"}), 0U);
  sluice.reset();
  start_sluice({.flags = {"--backend-server-name=other.example.org"}, .wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  EXPECT_TRUE(sluice->page("/readyz").body.contains("no backend is ready"));
  EXPECT_EQ(apisim->total({"requests_total"}), 0U);
}

// --- peers that speak nothing known ----------------------------------------------------------

TEST_F(ConfigurationTest, GarbageOnThePortHurtsNobody) {
  start();
  const auto bystander = connect(&credentials.alice);
  std::string every_byte;
  for (int i = 0; i < 4096; ++i) every_byte += static_cast<char>(i * 7);
  const std::vector<std::string> garbage = {
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      std::string(65536, '\0'),
      every_byte,
      std::string("\x16\x03\x01\xff\xff", 5) +
          std::string(70'000, 'x'),                            // a record that is too long
      std::string("\x16\x03\x01\x00\x04\x01\xff\xff\xff", 9),  // a hello that is too long
      std::string("\x80\x2e\x01\x03\x01\x00\x15", 7),
      "\n",
      std::string("\x15\x03\x03\x00\x02\x02\x28", 7)};
  for (const std::string& bytes : garbage) {
    RawClient client(sluice->address(), nullptr);
    ASSERT_TRUE(client.connected());
    client.send_wire(bytes);
    if (bytes.size() > 100 || bytes[0] != '\n') {
      // Some look like the beginning of a handshake until their time is over.
      client.wait_end(500ms);
    }
    EXPECT_FALSE(client.received().contains("HTTP/1.1 200"));
  }
  // Inside of TLS, too.
  for (const std::string& bytes : garbage) {
    const auto client = connect_raw();
    ASSERT_TRUE(client->established());
    client->send(bytes);
    client->wait_end(300ms);
  }
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
  // Some left before they were judged.
  EXPECT_GE(sluice->metric("sluice_client_connections_ended_total", {"tls"}), 5.0);
  EXPECT_GE(sluice->metric("sluice_client_limit_exceeded_total", {"protocol"}), 5.0);
}

TEST_F(ConfigurationTest, HalfOpenHandshakesTimeOut) {
  start({"--tls-handshake-timeout=1s"});
  RawClient silent(sluice->address(), nullptr);
  RawClient begun(sluice->address(), nullptr);
  begun.send_wire(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11));
  const Clock::time_point opened = Clock::now();
  EXPECT_TRUE(silent.wait_end(6s));
  EXPECT_TRUE(begun.wait_end(6s));
  EXPECT_GE(Clock::now() - opened, 800ms);
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_client_connections") == 0; }, 5s));
}

TEST_F(ConfigurationTest, SilenceAfterTheHandshakeTimesOut) {
  start({"--request-head-timeout=1s"});
  const auto silent = connect_raw();
  ASSERT_TRUE(silent->established());
  const Clock::time_point opened = Clock::now();
  EXPECT_TRUE(silent->wait_end(6s));
  EXPECT_GE(Clock::now() - opened, 800ms);
}

TEST_F(ConfigurationTest, IdleConnectionsAreClosedWithGoawayAndUsedOnesAreNot) {
  start({"--client-idle-timeout=1s"});
  const auto idle = connect(&credentials.alice);
  const auto watching = connect(&credentials.alice);
  const auto watches = open_watches(*watching, 1);
  EXPECT_EQ(idle->fetch({.path = std::string(object_path)}).status, 200);
  EXPECT_TRUE(loop->run_until([&] { return idle->ended(); }, 8s));
  EXPECT_FALSE(idle->goaways().empty());
  EXPECT_FALSE(watching->ended());
  EXPECT_FALSE(watching->answer(watches[0]).over);
}

TEST_F(ConfigurationTest, OtherNamesAreNotMisdirected) {
  start();
  const auto client = connect(&credentials.alice);
  // Clients legitimately set other server names.
  EXPECT_EQ(client->fetch({.path = std::string(object_path), .authority = "10.0.0.1:443"}).status,
            200);
  const std::vector<Apisim::Seen> seen = apisim->seen("kb-1");
  ASSERT_EQ(seen.size(), 1U);
}

// --- admin -----------------------------------------------------------------------------------

// Prometheus' text format, version 0.0.4, strictly.
void expect_prometheus_text(const std::string& text) {
  static const std::regex sample(
      R"re(^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*"(,|(?=\})))*\})? ([-+]?([0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?|Inf|NaN))$)re");
  static const std::regex comment(R"(^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$)");
  std::istringstream lines(text);
  std::map<std::string, std::string> types;
  std::set<std::string> samples;
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, comment)) {
      if (match[1] == "TYPE") {
        EXPECT_TRUE(types.emplace(match[2], match[3]).second) << line;
      }
      continue;
    }
    ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
    EXPECT_TRUE(samples.insert(line.substr(0, line.rfind(' '))).second) << "twice: " << line;
    std::string family = match[1];
    if (!types.contains(family)) {
      for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
        if (family.ends_with(suffix) &&
            types.contains(family.substr(0, family.size() - suffix.size()))) {
          family = family.substr(0, family.size() - suffix.size());
          EXPECT_EQ(types[family], "histogram");
          break;
        }
      }
    }
    EXPECT_TRUE(types.contains(family)) << line;
    EXPECT_TRUE(family.starts_with("sluice_")) << line;
    EXPECT_EQ(types[family] == "counter", family.ends_with("_total")) << line;
  }
  EXPECT_TRUE(text.ends_with('\n'));
  EXPECT_GT(samples.size(), 50U);
}

// Which of these texts stand somewhere in the memory that a process may write.
std::set<std::string> held(const Child& child, const std::vector<std::string>& texts) {
  const std::string folder = "/proc/" + std::to_string(child.pid());
  std::ifstream maps(folder + "/maps");
  std::ifstream memory(folder + "/mem", std::ios::binary);
  std::set<std::string> found;
  std::string line;
  std::string area;
  while (std::getline(maps, line)) {
    std::size_t begin = 0;
    std::size_t end = 0;
    char access[3] = {};
    if (std::sscanf(line.c_str(), "%zx-%zx %2s", &begin, &end, access) != 3 ||
        std::string_view(access) != "rw") {
      continue;
    }
    constexpr std::size_t piece = std::size_t{1} << 20;
    constexpr std::size_t overlap = 1024;
    for (std::size_t at = begin; at < end; at += piece) {
      area.resize(std::min(end - at, piece + overlap));
      memory.clear();
      memory.seekg(static_cast<std::streamoff>(at));
      memory.read(area.data(), static_cast<std::streamsize>(area.size()));
      area.resize(static_cast<std::size_t>(memory.gcount()));
      for (const std::string& text : texts) {
        if (area.contains(text)) found.insert(text);
      }
    }
  }
  return found;
}

TEST_F(ConfigurationTest, NoPrivateKeyStaysInMemoryAsPem) {
  if (sanitized()) GTEST_SKIP() << "a sanitizer keeps freed memory, and terabytes of its own";
  start();
  const std::string flag = credentials.file("gateway.key");  // which is there, to be found
  std::vector<std::string> texts = {flag};
  for (const Certificate* certificate : {&credentials.gateway, &credentials.front_proxy}) {
    // Behind what all keys of a kind have in common.
    const std::string pem = certificate->key_pem();
    const std::size_t first = pem.find('\n') + 1;
    texts.push_back(pem.substr(pem.find('\n', first) + 1, 40));
    ASSERT_EQ(texts.back().find_first_of("-\n"), std::string::npos);
  }
  // Whoever reads the files has them for a moment.
  std::set<std::string> found;
  eventually([&] { return (found = held(sluice->child(), texts)).size() <= 1; }, 3s);
  EXPECT_EQ(found, std::set<std::string>{flag});
}

TEST_F(ConfigurationTest, MetricsParseAsPrometheusText) {
  start({"--workers=2"});
  const auto client = connect(&credentials.alice);
  for (int i = 0; i < 20; ++i) client->fetch({.path = std::string(object_path)});
  const HttpReply metrics = sluice->page("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_TRUE(metrics.head.contains("text/plain; version=0.0.4")) << metrics.head;
  expect_prometheus_text(metrics.body);
  EXPECT_EQ(sluice->metric("sluice_requests_total"), 20.0);
  EXPECT_EQ(sluice->metric("sluice_responses_total", {"2xx"}), 20.0);
  EXPECT_EQ(sluice->metric("sluice_response_head_seconds_count"), 20.0);
  EXPECT_GT(sluice->metric("sluice_certificate_not_after_seconds", {"front-proxy"}), 1.7e9);
  EXPECT_GT(sluice->metric("sluice_certificate_not_after_seconds", {"serving"}), 1.7e9);
}

TEST_F(ConfigurationTest, AdminPagesSayWhatTheyShouldAndNothingElse) {
  start();
  EXPECT_EQ(sluice->page("/livez").status, 200);
  EXPECT_EQ(sluice->page("/readyz").status, 200);
  EXPECT_EQ(sluice->page("/nothing").status, 404);
  EXPECT_EQ(http_request(sluice->admin(), "POST", "/metrics").status, 405);
  const HttpReply head = http_request(sluice->admin(), "HEAD", "/livez");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
  const auto backends = Json::parse(sluice->page("/backends").body);
  ASSERT_TRUE(backends.has_value());
  EXPECT_EQ(backends->find("backends")->array()->size(), 3U);
  RawClient garbage(sluice->admin(), nullptr);
  garbage.send_wire("NONSENSE\r\n\r\n");
  EXPECT_TRUE(garbage.wait_end(5s));
  EXPECT_TRUE(garbage.received().starts_with("HTTP/1.1 400")) << garbage.received();
  // Many at once are no harm.
  std::vector<std::unique_ptr<RawClient>> many;
  for (int i = 0; i < 60; ++i)
    many.push_back(std::make_unique<RawClient>(sluice->admin(), nullptr));
  many.clear();
  EXPECT_TRUE(sluice->wait_page("/livez", 200, 5s));
}

TEST_F(ConfigurationTest, TheAccessLogHasALineForEachRequestAndNoSecret) {
  start_apisim();
  const TemporaryDirectory directory;
  start_sluice({.flags = {"--access-log=" + directory.file("access.log")}});
  const auto client = connect();
  const auto by_certificate = connect(&credentials.alice);
  client->fetch({.path = std::string(object_path), .fields = bearer("token-5")});
  client->fetch({.path = std::string(object_path), .fields = bearer("a-secret-that-is-wrong")});
  by_certificate->fetch(
      {.path = "/api/v1/namespaces/default/pods?limit=1", .fields = bearer("token-6")});
  by_certificate->fetch({.path = "/a\"b"});
  const auto lines = [&] {
    const std::string text = read_file(directory.file("access.log"));
    return std::ranges::count(text, '\n');
  };
  EXPECT_TRUE(eventually([&] { return lines() >= 4; }, 10s));
  std::istringstream text(read_file(directory.file("access.log")));
  std::set<std::string> verbs;
  for (std::string line; std::getline(text, line);) {
    const auto json = Json::parse(line);
    ASSERT_TRUE(json.has_value() && json->is_object()) << line;
    EXPECT_FALSE(line.contains("token-5") || line.contains("token-6") || line.contains("a-secret"))
        << line;
    verbs.insert(std::string(json->text("verb")));
    EXPECT_TRUE(json->text("verb") != "list" || json->text("user") == "alice") << line;
  }
  EXPECT_TRUE(verbs.contains("get"));
  EXPECT_TRUE(verbs.contains("list"));
  for (const std::string secret : {"token-5", "token-6", "a-secret"}) {
    EXPECT_FALSE(sluice->child().log().contains(secret));
  }
}

TEST_F(ConfigurationTest, ARefusedHeadIsInTheAccessLogLikeAnyOther) {
  start_apisim();
  const TemporaryDirectory directory;
  start_sluice({.flags = {"--access-log=" + directory.file("access.log"),
                          "--request-head-bytes-max=16KiB"}});
  const auto client = connect(&credentials.alice);
  EXPECT_EQ(client
                ->fetch({.path = std::string(object_path),
                         .fields = {{"x-large", std::string(20'000, 'x')}}})
                .status,
            431);
  const auto text = [&] { return read_file(directory.file("access.log")); };
  ASSERT_TRUE(eventually([&] { return text().ends_with('\n'); }, 10s));
  const auto json = Json::parse(text());
  ASSERT_TRUE(json.has_value()) << text();
  EXPECT_EQ(json->text("method"), "GET");
  EXPECT_EQ(json->text("path"), object_path);
  EXPECT_TRUE(json->text("client").starts_with("127.0.0.1:")) << text();
  EXPECT_TRUE(json->text("time").starts_with("20")) << text();
  EXPECT_EQ(json->text("reason"), "head_too_large");
}

}  // namespace
}  // namespace sluice::test
