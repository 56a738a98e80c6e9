// SPDX-License-Identifier: GPL-3.0-or-later
// Compares our request info and our certificate identities with what the API server's own code says
// (the Go program in tests/kubernetes/oracle), line by line.
//
//   kubernetes_differential ORACLE request-info COUNT SEED   COUNT requests made from a grammar
//   kubernetes_differential ORACLE certificates COUNT SEED   COUNT certificates made by the oracle
//
// Exits with 1 after printing the first differences. Requests whose path check_path refuses are
// left out: they are never forwarded.
#include <fmt/core.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "oracle.h"
#include "sluice/kubernetes/identity.h"
#include "sluice/kubernetes/long_running.h"
#include "sluice/kubernetes/request_info.h"
#include "sluice/x509/certificate_facts.h"

namespace sluice::kubernetes {
namespace {

constexpr int differences_shown_max = 20;

// One column of the oracle's lines: everything but printable ASCII, and `%`, as %XX.
std::string escape(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte <= 0x20 || byte >= 0x7f || c == '%') {
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

// ---- Requests ----

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  std::string_view of(std::initializer_list<std::string_view> choices) {
    return choices.begin()[below(choices.size())];
  }

 private:
  std::uint64_t state_;
};

std::string make_segment(Random& random) {
  switch (random.below(12)) {
    case 0: return std::string(random.of({"namespaces", "status", "finalize", "proxy", "watch"}));
    case 1: return std::string(random.of({"log", "exec", "attach", "portforward", "scale"}));
    case 2: return "";
    case 3:
      return std::string(random.of({".", "..", "a%2Fb", "%2e%2e", "%2F", "x%00y", "%zz", "%"}));
    case 4: return std::string(random.of({"a+b", "q;p=1", "n:1", "%C3%A9", "%FF", "e\"<>^`{|}"}));
    case 5: return std::string(random.of({"%77atch", "pr%6fxy", "namespace%73", "statu%73"}));
    default:
      return std::string(random.of({"pods", "services", "nodes", "configmaps", "web-1", "default",
                                    "kube-system", "deployments", "x", "leases"}));
  }
}

std::string make_path(Random& random) {
  std::string path = random.one_in(20) ? "//" : "/";
  switch (random.below(16)) {
    case 0:
      path +=
          random.of({"healthz", "livez/ping", "readyz", "version", "openapi/v2", "metrics", "api",
                     "apis", "apis/apps", "apis/apps/v1", "api/v1", "", "debug/pprof/profile",
                     "debug/pprof", "debug%2Fpprof/heap", "logs/", "a/b/c/d", "apis//v1/pods"});
      break;
    case 1:
      for (std::uint64_t n = random.below(8); n > 0; --n) path += make_segment(random) + "/";
      break;
    case 2:
      path += random.of({"api", "apis", "a%70i", "Api", "ap%69s"});
      for (std::uint64_t n = random.below(9); n > 0; --n) path += "/" + make_segment(random);
      break;
    default:
      path += random.of({"api/v1", "api/v1", "apis/apps/v1", "apis/metrics.k8s.io/v1beta1"});
      if (random.one_in(8)) path += random.of({"/watch", "/proxy"});
      if (random.one_in(2)) path += "/namespaces/" + make_segment(random);
      if (!random.one_in(12)) path += "/" + make_segment(random);
      if (random.one_in(2)) path += "/" + make_segment(random);
      if (random.one_in(4)) path += "/" + make_segment(random);
      if (random.one_in(12)) path += "/" + make_segment(random);
  }
  if (random.one_in(12)) path += random.of({"/", "//", "%2F", "%2f/"});
  return path;
}

// Pairs that do not decode, or decode to what nobody writes: the API server drops the former.
std::string make_odd_pair(Random& random) {
  std::string pair(
      random.of({"watch", "limit", "timeoutSeconds", "fieldSelector", "labelSelector",
                 "resourceVersion", "sendInitialEvents", "continue", "w%61tch", "watch%",
                 "wat%zzch", "wat%00ch", "limit%0", "\xc3\xa9", "watch\xff"}));
  pair += random.of({"=", "=1", "=true", "=metadata.name%3Dweb", "=app", ""});
  pair += random.of({"%", "%1", "%zz", "%%31", "%00", "\xc3\xa9", "\xff", "%C3%A9", "%u0041", "1%",
                     "%2", "#", "\\", "#watch=1", "%E2%82", "\xed\xa0\x80", "%+1", "+%"});
  return pair;
}

std::string make_pair(Random& random) {
  if (random.one_in(8)) return make_odd_pair(random);
  switch (random.below(10)) {
    case 0:
    case 1:
    case 2:
      return std::string(random.of(
          {"watch", "watch=", "watch=1", "watch=0", "watch=true", "watch=FALSE", "watch=false",
           "watch=%30", "watch=fal%C5%BFe", "watch=fal%73e", "w%61tch=true", "watch=+", "watch=%",
           "watch=1;", "Watch=1", "watch=00", "watch=falseX", "+watch=1", "watch=%E2%84%AA"}));
    case 3:
      return std::string(
          random.of({"limit=500", "limit=", "limit=x", "limit=-1", "limit=%2B5", "limit=+5",
                     "limit=9223372036854775807", "limit=9223372036854775808", "limit=1_0",
                     "limit=0x10", "limit=007", "limit=-9223372036854775808", "limit=+"}));
    case 4:
      return std::string(
          random.of({"timeoutSeconds=30", "timeoutSeconds=", "timeoutSeconds=1s",
                     "timeoutSeconds=%33", "timeoutSeconds=-", "timeoutSeconds=-0"}));
    case 5:
    case 6: {
      std::string selector = "fieldSelector=";
      for (std::uint64_t n = 1 + random.below(3); n > 0; --n) {
        selector += random.of({"metadata.name%3D", "metadata.name=", "metadata.name%3D%3D",
                               "spec.node!=", "metadata.name%21%3D", "metadata.name",
                               "metadata%2Ename==", "", "=", "!"});
        selector +=
            random.of({"web-1", "a", "b", ".", "..", "x%2Fy", "x%25y", "", "a%5C,b", "a%5C%5Cb",
                       "a%5Cx", "%FF%5C=z", "a%5C", "a=b", "%C3%A9", "%ED%A0%80%5C,", "a+b", "!"});
        if (n > 1) selector += random.of({",", "%2C", ",,"});
      }
      return selector;
    }
    case 7: {
      std::string selector = "labelSelector=";
      for (std::uint64_t n = 1 + random.below(3); n > 0; --n) {
        selector +=
            random.of({"app", "!app", "in", "notin", "k8s.io/app", "K8S.io/app", "a/b/c", "-a",
                       "a-", "a_b.c-d", "", "/x", "x/", "a..b/c", "!", "!!a", "%20app%20",
                       "a123456789012345678901234567890123456789012345678901234567890123"});
        selector += random.of({"",
                               "=x",
                               "==x",
                               "!=x",
                               "=",
                               "+in+(a,b)",
                               "+in+()",
                               "+notin+(a)",
                               " in (a",
                               "%20in%20(,)",
                               "+in+(a,,b)",
                               "+in+(a+b)",
                               "%3E1",
                               "%3C2",
                               ">x",
                               "=-x",
                               "=x-",
                               "===x",
                               "=!x",
                               "%3D%3Dx",
                               "+notin+(in,notin)",
                               "+in",
                               "+x",
                               "%00",
                               "=x%00y",
                               "%09in%0A(a)",
                               "=in",
                               "!=notin",
                               "<+5",
                               ">",
                               "+in+(+)",
                               "=(",
                               "%3E%3D1"});
        if (n > 1) selector += random.of({",", "%2C", ",,", ",%00"});
      }
      return selector;
    }
    case 8:
      return std::string(
          random.of({"resourceVersion=0", "resourceVersion=", "resourceVersion=123",
                     "resourceVersion=%30", "sendInitialEvents=true", "sendInitialEvents=false",
                     "sendInitialEvents=", "sendInitialEvents=fal%C5%BFe",
                     "resourceVersionMatch=NotOlderThan", "resourceVersionMatch="}));
    default:
      return std::string(
          random.of({"continue=abc%3D", "pretty=true", "", "=", "a=b", "%zz=1", "limit=1;x=2",
                     "allowWatchBookmarks=1", "follow=true", "q=a?b", "shardSelector=(",
                     "continue=x+y", "a=%", "fieldManager=kubectl"}));
  }
}

std::string make_query(Random& random) {
  if (random.one_in(3)) return "";
  std::string query = "?";
  for (std::uint64_t n = random.below(6); n > 0; --n) {
    query += make_pair(random);
    if (n > 1) query += random.one_in(20) ? "&&" : "&";
  }
  if (random.one_in(100'000)) {
    for (int i = 0; i < 10'000; ++i) query += "&";
  }
  return query;
}

std::string_view make_method(Random& random) {
  switch (random.below(8)) {
    case 0: return random.of({"HEAD", "POST"});
    case 1: return random.of({"PUT", "PATCH"});
    case 2: return "DELETE";
    case 3:
      return random.of({"OPTIONS", "CONNECT", "get", "Get", "TRACE", "WATCH", "PROXY", "LIST",
                        "X-Y", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKL"});
    default: return "GET";
  }
}

std::string describe_list_options(const RequestInfo& info) {
  if (info.malformed || (!info.is_list() && !info.is_watch())) return "-";
  const auto flag = [](bool b) { return b ? "1" : "0"; };
  return fmt::format("rv={},match={},limit={},timeout={},initial={},continue={}",
                     info.resource_version, flag(info.has_resource_version_match), info.limit,
                     info.timeout_seconds ? std::to_string(*info.timeout_seconds) : "unset",
                     info.send_initial_events ? flag(*info.send_initial_events) : "unset",
                     info.continue_token);
}

// The oracle's columns; `options_known` is false where the API server could not decode the options
// and says nothing about them.
std::string describe(const RequestInfo& info, bool options_known) {
  const auto flag = [](bool b) { return std::string(b ? "1" : "0"); };
  const std::array<std::string, 15> columns = {
      escape(info.verb),
      flag(info.is_resource),
      escape(info.api_prefix),
      escape(info.api_group),
      escape(info.api_version),
      escape(info.namespace_name),
      escape(info.resource),
      escape(info.subresource),
      escape(info.name),
      escape(info.field_selector),
      escape(info.label_selector),
      flag(info.malformed),
      flag(is_long_running(info)),
      escape(info.path),
      options_known ? escape(describe_list_options(info)) : "invalid"};
  std::string line;
  for (const std::string& column : columns) {
    if (!line.empty() || &column != &columns.front()) line += '\t';
    line += column;
  }
  return line;
}

int compare_requests(const test::Oracle& oracle, std::uint64_t count, std::uint64_t seed) {
  {
    Random random(seed);
    std::ofstream in(oracle.questions());
    for (std::uint64_t made = 0; made < count;) {
      const std::string_view method = make_method(random);
      const std::string path = make_path(random) + make_query(random);
      if (!check_path(path)) continue;
      in << method << ' ' << path << '\n';
      ++made;
    }
  }
  std::map<std::string, std::uint64_t> verbs;
  std::uint64_t invalid_options = 0;
  std::chrono::nanoseconds parsing{};
  int differences = 0;
  const auto compare = [&](const std::string& request, const std::string& expected) {
    const std::string_view line = request;
    const std::size_t space = line.find(' ');
    const auto begin = std::chrono::steady_clock::now();
    const RequestInfo info = parse_request_info(line.substr(0, space), line.substr(space + 1));
    parsing += std::chrono::steady_clock::now() - begin;
    const bool options_known = !expected.ends_with("\tinvalid");
    invalid_options += options_known ? 0 : 1;
    const std::string actual = describe(info, options_known);
    if (actual != expected && ++differences <= differences_shown_max) {
      fmt::print("{}\n  expected {}\n  actual   {}\n", request, expected, actual);
    }
    ++verbs[info.is_resource ? std::string(info.verb) : "non-resource " + std::string(info.verb)];
  };
  const std::uint64_t compared = oracle.ask("request-info", compare);
  fmt::print("{} requests, {} with undecodable options, {} differences, {:.0f} ns each\n", compared,
             invalid_options, differences,
             static_cast<double>(parsing.count()) / static_cast<double>(compared));
  bool enough = compared == count;
  for (const auto& [verb, seen] : verbs)
    fmt::print("  {:8} {}\n", seen, verb.empty() ? "(none)" : verb);
  // One million requests must hold each verb ten thousand times.
  for (const char* verb : {"get", "list", "watch", "create", "update", "patch", "delete",
                           "deletecollection", "proxy", "", "non-resource get"}) {
    if (verbs[verb] < count / 100) {
      fmt::print("too few requests with the verb \"{}\"\n", verb);
      enough = false;
    }
  }
  return differences == 0 && enough ? 0 : 1;
}

// ---- Certificates ----

// Ours in the oracle's columns. The digest is the oracle's: the TLS side computes it, not this
// folder.
std::string describe(const x509::CertificateFacts& facts, const Identity& identity) {
  std::string line =
      fmt::format("user\t{}\t{}\t{}\t{}\t{}\t{}\t{}", escape(identity.user), escape(identity.uid),
                  identity.credential_id.substr(std::string_view("X509SHA256=").size()),
                  facts.not_before.time_since_epoch().count(),
                  facts.not_after.time_since_epoch().count(), facts.ca ? "1" : "0",
                  !facts.extended_usage ? "absent"
                  : facts.client_auth   ? "client"
                                        : "other");
  for (const std::string& group : identity.groups) line += "\t" + escape(group);
  return line;
}

int compare_certificates(const test::Oracle& oracle, std::uint64_t count, std::uint64_t seed) {
  oracle.make_questions("make-certificates", count, seed);
  std::uint64_t equal = 0;
  std::uint64_t none_both = 0;
  int differences = 0;
  std::map<std::string, std::uint64_t> refused;
  const auto compare = [&](const std::string& hex, const std::string& expected) {
    const std::vector<std::uint8_t> der = test::from_hex(hex);
    const std::vector<std::string_view> columns = test::split(expected, '\t');
    const bool oracle_has_one = columns[0] == "user";
    std::vector<std::uint8_t> digest(32);
    if (oracle_has_one) digest = test::from_hex(columns[3]);
    const Sha256Digest digest_view(digest.data(), 32);

    const auto facts = x509::read_certificate_facts(der);
    // The subject alone, so that certificates of authorities and servers are compared as well.
    const std::expected<Identity, NoIdentity> identity =
        facts ? identity_of_subject(facts->subject, digest_view)
              : std::expected<Identity, NoIdentity>(std::unexpected(NoIdentity::malformed));
    if (!identity) {
      if (oracle_has_one) {
        ++refused[std::string(to_string(identity.error()))];
      } else {
        ++none_both;
      }
      return;
    }
    const std::string actual = describe(*facts, *identity);
    if (actual == expected) {
      ++equal;
    } else if (++differences <= differences_shown_max) {
      fmt::print("{}\n  expected {}\n  actual   {}\n", hex, expected, actual);
    }
    const bool allowed = !facts->ca && facts->usable_for_client();
    if (identity_of_certificate(der, digest_view).has_value() != allowed) {
      fmt::print("{}\n  an authority or a server was not refused\n", hex);
      ++differences;
    }
  };
  const std::uint64_t compared = oracle.ask("certificates", compare);
  fmt::print("{} certificates: {} equal identities, {} without one on both sides, {} differences\n",
             compared, equal, none_both, differences);
  for (const auto& [reason, times] : refused)
    fmt::print("  {:8} refused by us alone: {}\n", times, reason);
  // A comparison that never meets an identity, or hardly a refusal, would show nothing.
  const bool meaningful = compared == count && equal >= count / 10 && none_both >= count / 10;
  return differences == 0 && meaningful ? 0 : 1;
}

}  // namespace
}  // namespace sluice::kubernetes

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  if (arguments.size() != 5) {
    fmt::print(stderr, "usage: {} ORACLE request-info|certificates COUNT SEED\n", arguments[0]);
    return 2;
  }
  const std::uint64_t count = std::strtoull(arguments[3].c_str(), nullptr, 10);
  const std::uint64_t seed = std::strtoull(arguments[4].c_str(), nullptr, 10);
  const sluice::test::Oracle oracle(arguments[1]);
  if (arguments[2] == "request-info") {
    return sluice::kubernetes::compare_requests(oracle, count, seed);
  }
  if (arguments[2] == "certificates") {
    return sluice::kubernetes::compare_certificates(oracle, count, seed);
  }
  return 2;
}
