// SPDX-License-Identifier: GPL-3.0-or-later
// Compares our verdicts over chains of certificates with those of crypto/x509 and crypto/tls of Go
// (the program in tests/kubernetes/oracle), chain by chain:
//
//   tls_differential ORACLE COUNT SEED
//
// Where an API server sees a user, or a client of one believes a server, we must, too, and by a
// path that ends at the same time; where it does not, we must not. We may refuse to judge for the
// reasons of `not_judged_for` alone, each of which is told to the client. Exits with 1 after
// printing the first differences.
#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "oracle.h"
#include "pem.h"
#include "sluice/tls/context.h"
#include "trust.h"

namespace sluice::tls {
namespace {

constexpr int differences_shown_max = 20;

// The written list of differences, all to the safe side (docs/architecture.md, "Identity").
const std::set<std::string, std::less<>> not_judged_for = {
    // Forms that Go reads and we do not: bytes after the last field of a structure, times without
    // seconds or in a time zone, v1 and v2 certificates with extensions, signatures of part of a
    // byte.
    "the certificate is malformed",
    // URIs that are not plain, constraints on whole mailboxes.
    "it has a name of a form that is not read here",
    "a CA certificate is no certificate of a peer",
    "a certificate makes rules about policies",
    "a CA restricts names, and one of the certificate's cannot be compared",
    "it has a key of a kind that is not supported",
    "a CA's certificate: it has a key of a kind that is not supported",
    "the chain has too many possible paths",
};

std::string to_pem(const Der& der) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text = "-----BEGIN CERTIFICATE-----\n";
  for (std::size_t i = 0; i < der.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t j = i; j < i + 3; ++j) group = group << 8 | (j < der.size() ? der[j] : 0U);
    for (unsigned j = 0; j < 4; ++j) {
      text += i + j > der.size() ? '=' : digits[group >> (18 - 6 * j) & 63];
    }
    if (i % 48 == 45) text += '\n';
  }
  return text + "\n-----END CERTIFICATE-----\n";
}

struct Verdict {
  enum class Kind : std::uint8_t { file, believed, untrusted, not_judged } kind;
  std::string why;
  std::int64_t end = 0;
  // The CA file holds a certificate that we read with a remark where Go may not read it at all;
  // nothing is believed by it. An API server does not start with what it cannot read.
  bool remarked = false;
};

constexpr std::string_view odd_name = "it has a name of a form that is not read here";

Verdict judge(const std::vector<std::string_view>& columns) {
  std::string ca_pem;
  for (const std::string_view anchor : test::split(columns[2], ','))
    ca_pem += to_pem(test::from_hex(anchor));
  const auto trust = Trust::create(ca_pem);
  if (!trust) return {Verdict::Kind::file, trust.error().context};
  std::vector<Der> ders;
  for (const std::string_view one : test::split(columns[3], ','))
    ders.push_back(test::from_hex(one));
  const std::vector<Bytes> chain(ders.begin(), ders.end());
  const auto purpose = columns[0] == "client" ? Trust::Purpose::client : Trust::Purpose::server;
  const WallTime now{std::chrono::seconds{std::stoll(std::string(columns[1]))}};
  const auto verified = trust->verify(chain, purpose, now);
  Verdict verdict{Verdict::Kind::believed, {}};
  verdict.remarked = std::ranges::any_of(
      trust->remarks(), [](const std::string& remark) { return remark.contains(odd_name); });
  if (verified) {
    verdict.end = verified->time_since_epoch().count();
    return verdict;
  }
  const bool judged = verified.error().kind != Trust::Refusal::Kind::not_judged;
  verdict.kind = judged ? Verdict::Kind::untrusted : Verdict::Kind::not_judged;
  verdict.why = verified.error().why;
  return verdict;
}

// What is wrong with our verdict, given the oracle's; empty: nothing.
std::string difference(const std::string& answer, const Verdict& ours) {
  const std::vector<std::string_view> words = test::split(answer, ' ');
  const std::string_view theirs = words[0];
  if (ours.kind == Verdict::Kind::file) {
    return theirs == "file" || ours.why.ends_with("the certificate is malformed")
               ? ""
               : "a CA file is refused: " + ours.why;
  }
  if (theirs == "file" && ours.remarked) return "";
  if (theirs == "file") return "a CA file is taken that an API server does not read";
  if (ours.kind == Verdict::Kind::not_judged) {
    // A server that ends the handshake has told the client why, as we do.
    return theirs == "dead" || not_judged_for.contains(ours.why) ? ""
                                                                 : "not judged for " + ours.why;
  }
  if (ours.kind == Verdict::Kind::untrusted) {
    return theirs == "none" ? "" : "not believed: " + ours.why;
  }
  if (theirs != "ok") return "believed";
  const bool same_end =
      std::ranges::find(words.begin() + 1, words.end(), std::to_string(ours.end)) != words.end();
  return same_end ? "" : "believed until another time";
}

int compare(const test::Oracle& oracle, std::uint64_t count, std::uint64_t seed) {
  oracle.make_questions("make-chains", count, seed);
  std::map<std::string, std::uint64_t> agreed;
  std::map<std::string, std::uint64_t> not_judged;
  int differences = 0;
  const auto compare_one = [&](const std::string& line, const std::string& answer) {
    const std::vector<std::string_view> columns = test::split(line, ' ');
    const Verdict ours = judge(columns);
    const std::string wrong = difference(answer, ours);
    if (!wrong.empty() && ++differences <= differences_shown_max) {
      fmt::print("{}\n  oracle {}\n  ours   {}\n", line, answer, wrong);
    }
    const std::string theirs = answer.substr(0, answer.find(' '));
    if (ours.kind == Verdict::Kind::not_judged) {
      ++not_judged[fmt::format("{:4} here: {}", theirs, ours.why)];
    } else {
      ++agreed[fmt::format("{} {}", theirs, columns[0])];
    }
  };
  const std::uint64_t compared = oracle.ask("chains", compare_one);
  fmt::print("{} chains, {} differences\n", compared, differences);
  for (const auto& [what, times] : agreed) fmt::print("  {:6} {}\n", times, what);
  for (const auto& [what, times] : not_judged) fmt::print("  {:6} not judged, {}\n", times, what);
  // A comparison that hardly meets a chain that verifies, or one that does not, shows nothing.
  const bool meaningful =
      compared == count && agreed["ok client"] >= count / 20 && agreed["ok server"] >= count / 20 &&
      agreed["none client"] >= count / 20 && agreed["none server"] >= count / 20;
  if (!meaningful) fmt::print("too few chains of each kind\n");
  return differences == 0 && meaningful ? 0 : 1;
}

}  // namespace
}  // namespace sluice::tls

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: {} ORACLE COUNT SEED\n", argv[0]);
    return 2;
  }
  if (const auto started = sluice::tls::initialize(); !started) {
    fmt::print(stderr, "{}\n", started.error().context);
    return 2;
  }
  return sluice::tls::compare(sluice::test::Oracle(argv[1]), std::strtoull(argv[2], nullptr, 10),
                              std::strtoull(argv[3], nullptr, 10));
}
