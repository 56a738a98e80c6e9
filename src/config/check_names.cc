// SPDX-License-Identifier: GPL-3.0-or-later
// Whose clients are whose, by names and listeners: what each cluster claims, and what comes of all
// claims together.
#include <algorithm>
#include <utility>

#include "checks.h"
#include "sluice/base/quote.h"
#include "sluice/config/server_names.h"

namespace sluice::config {

namespace {

bool is_broken(const Validation& process, const Claim& claim) {
  return !process.clusters[claim.cluster].mistakes.empty();
}

void settle_names(const std::map<std::string, std::vector<Claim>>& claims, Validation& process) {
  for (const auto& [name, holders] : claims) {
    for (const Claim& other : std::span(holders).subspan(1)) {
      process.conflicts.push_back(
          fmt::format("{}: --server-names={} is claimed in {}, too: neither cluster gets it; keep "
                      "it in one of them.",
                      other.where, quote(name), holders.front().where));
    }
    const bool served = holders.size() == 1 && !is_broken(process, holders.front());
    auto& names =
        served ? process.clusters[holders.front().cluster].server_names : process.reserved_names;
    names.push_back(name);
  }
}

void settle_default(const std::vector<Claim>& claims, Validation& process) {
  if (claims.empty()) return;
  for (const Claim& other : std::span(claims).subspan(1)) {
    process.conflicts.push_back(
        fmt::format("{}: --default is claimed in {}, too: no cluster gets it; keep it in one of "
                    "them.",
                    other.where, claims.front().where));
  }
  if (claims.size() > 1 || is_broken(process, claims.front())) return;
  // A name that could not be read may be asked for by somebody who has a token.
  bool all_known = true;
  for (const CheckedCluster& cluster : process.clusters) {
    if (cluster.names_known) continue;
    all_known = false;
    process.warnings.push_back(
        fmt::format("{}: which names are its own is not known: until that is mended, {}, which "
                    "has --default, takes nobody for it.",
                    printable(cluster.file), claims.front().where));
  }
  if (all_known) process.default_cluster = claims.front().cluster;
}

// Among those on one port.
void settle_listeners(const std::vector<std::pair<io::Address, Claim>>& claims,
                      Validation& process) {
  for (const auto& [address, claim] : claims) {
    const auto other = std::ranges::find_if(claims, [&, mine = &claim](const auto& one) {
      return one.second.cluster != mine->cluster && compete(one.first, address);
    });
    if (other == claims.end()) {
      if (!is_broken(process, claim)) process.clusters[claim.cluster].listen.push_back(address);
      continue;
    }
    process.conflicts.push_back(fmt::format(
        "{}: --listen={} is claimed in {}, too: neither cluster gets it; keep it in one of them.",
        claim.where, quote(address.to_string()), other->second.where));
  }
}

}  // namespace

void Claims::settle(Validation& process) const {
  settle_names(names_, process);
  settle_default(default_, process);
  for (const auto& [port, claims] : listeners_) settle_listeners(claims, process);
}

void check_names(Reporter& report, std::size_t number, CheckedCluster& cluster, Claims& claims) {
  const std::vector<std::string>& texts = cluster.config.server_names;
  const bool alone = cluster.file.empty();
  DefaultFor& taken = cluster.config.default_for;
  if (texts.empty() && taken == DefaultFor::nobody && alone) taken = DefaultFor::unknown;
  if (texts.empty() && taken == DefaultFor::nobody && !report.is_said("listen")) {
    cluster.names_known = false;
    return report.mistake("server-names",
                          "--server-names is missing: nobody could reach the cluster; write the "
                          "names that clients call it by, default=true, or an address of its own "
                          "(listen).");
  }
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const About about("server-names", i);
    const auto name = parse_server_name(texts[i]);
    if (!name) {
      cluster.names_known = false;
      report.mistake(about, "--server-names={}: {}.", quote(texts[i]), name.error().context);
    } else if (std::ranges::find(seen, *name) != seen.end()) {
      report.mistake(about, "--server-names={} is given twice: keep one of them.", quote(texts[i]));
    } else {
      seen.push_back(*name);
      claims.add_name(*name, {number, report.where(about)});
    }
  }
  if (taken != DefaultFor::nobody) claims.add_default({number, report.where("default")});
}

}  // namespace sluice::config
