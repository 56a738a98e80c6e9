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

bool is_broken(const Validation& process, std::size_t cluster) {
  return !process.clusters[cluster].mistakes.empty();
}

// Which of the process's clusters it is now, if it is one still.
std::optional<std::size_t> number_of(const HeldCluster& held, const Validation& process) {
  const auto found = std::ranges::find(process.clusters, held.name, &CheckedCluster::name);
  if (found == process.clusters.end()) return std::nullopt;
  return static_cast<std::size_t>(found - process.clusters.begin());
}

bool claims_it(const std::vector<Claim>& claims, std::size_t cluster) {
  return std::ranges::find(claims, cluster, &Claim::cluster) != claims.end();
}

// Both files are named, and what comes of it.
void say_conflicts(const std::string& what, std::string_view nobody,
                   const std::vector<Claim>& claims, std::optional<std::size_t> holder,
                   Validation& process) {
  const auto kept =
      std::ranges::find_if(claims, [&](const Claim& claim) { return claim.cluster == holder; });
  const Claim& first = kept == claims.end() ? claims.front() : *kept;
  for (const Claim& other : claims) {
    if (&other == &first) continue;
    process.conflicts.push_back(fmt::format(
        "{}: {} is claimed in {}, too: {}; keep it in one of them.", other.where, what, first.where,
        holder ? fmt::format("{} has it, and keeps it", printable(process.clusters[*holder].file))
               : std::string(nobody)));
  }
}

}  // namespace

std::optional<std::size_t> Claims::holder(const std::string& name, const std::vector<Claim>& claims,
                                          const Validation& process) const {
  for (const HeldCluster& held : held_) {
    if (std::ranges::find(held.server_names, name) == held.server_names.end()) continue;
    const auto number = number_of(held, process);
    const bool keeps = number && (is_broken(process, *number) || claims_it(claims, *number));
    return keeps ? number : std::nullopt;
  }
  return std::nullopt;
}

void Claims::settle_name(const std::string& name, const std::vector<Claim>& claims,
                         Validation& process) const {
  const std::optional<std::size_t> kept = holder(name, claims, process);
  const auto all = [&] {
    // Who serves on as before has the name, whatever its file says now.
    if (!kept || claims_it(claims, *kept)) return claims;
    std::vector<Claim> with_holder = claims;
    with_holder.push_back({*kept, printable(process.clusters[*kept].file)});
    return with_holder;
  }();
  if (all.size() > 1) {
    say_conflicts("--server-names=" + quote(name), "neither cluster gets it", all, kept, process);
  }
  if (kept) {
    process.clusters[*kept].server_names.push_back(name);
  } else if (all.size() == 1 && !is_broken(process, all.front().cluster)) {
    process.clusters[all.front().cluster].server_names.push_back(name);
  } else {
    process.reserved_names.push_back(name);
  }
}

std::optional<std::size_t> Claims::default_holder(const Validation& process) const {
  for (const HeldCluster& held : held_) {
    if (!held.is_default) continue;
    const auto number = number_of(held, process);
    if (!number) return std::nullopt;
    if (is_broken(process, *number) || claims_it(default_, *number)) return number;
  }
  return std::nullopt;
}

void Claims::settle_default(Validation& process) const {
  const std::optional<std::size_t> kept = default_holder(process);
  if (default_.size() > 1) {
    say_conflicts("--default", "no cluster gets it", default_, kept, process);
  }
  if (kept) {
    // What has mistakes serves on as before, with what it had before.
    process.default_cluster = kept;
    return;
  }
  if (default_.size() != 1 || is_broken(process, default_.front().cluster)) return;
  // A name that could not be read may be asked for by somebody who has a token.
  bool all_known = true;
  for (const CheckedCluster& cluster : process.clusters) {
    if (cluster.names_known || is_held(cluster)) continue;
    all_known = false;
    process.warnings.push_back(
        fmt::format("{}: which names are its own is not known: until that is mended, {}, which "
                    "has --default, takes nobody for it.",
                    printable(cluster.file), default_.front().where));
  }
  if (all_known) process.default_cluster = default_.front().cluster;
}

// Who serves there now: by what it was before, if its file says so no more because of a mistake.
std::optional<std::size_t> Claims::listens(const io::Address& address,
                                           const std::vector<ListenerClaim>& claims,
                                           const Validation& process) const {
  for (const HeldCluster& held : held_) {
    if (std::ranges::none_of(held.listen, [&](const auto& one) { return compete(one, address); })) {
      continue;
    }
    const auto number = number_of(held, process);
    if (!number) continue;
    const bool claimed = std::ranges::any_of(claims, [&](const ListenerClaim& one) {
      return one.claim.cluster == number && compete(one.address, address);
    });
    if (is_broken(process, *number) || claimed) return number;
  }
  return std::nullopt;
}

// Among those on one port.
void Claims::settle_listeners(const std::vector<ListenerClaim>& claims, Validation& process) const {
  for (const auto& [address, claim] : claims) {
    const auto holder = listens(address, claims, process);
    const auto other = std::ranges::find_if(claims, [&, mine = &claim](const ListenerClaim& one) {
      return one.claim.cluster != mine->cluster && compete(one.address, address);
    });
    const bool alone = !holder && other == claims.end();
    if (alone || holder == claim.cluster) {
      if (!is_broken(process, claim.cluster)) {
        process.clusters[claim.cluster].listen.push_back(address);
      }
      continue;
    }
    const std::string what = "--listen=" + quote(address.to_string());
    const std::string kept = holder ? printable(process.clusters[*holder].file) : std::string();
    process.conflicts.push_back(
        fmt::format("{}: {} is claimed in {}, too: {}; keep it in one of them.", claim.where, what,
                    other == claims.end() ? kept : other->claim.where,
                    holder ? kept + " has it, and keeps it" : "neither cluster gets it"));
  }
}

bool Claims::is_held(const CheckedCluster& cluster) const {
  return std::ranges::find(held_, cluster.name, &HeldCluster::name) != held_.end();
}

void Claims::settle(Validation& process) const {
  for (const auto& [name, claims] : names_) settle_name(name, claims, process);
  // Of those whose files do not even say that any more.
  for (const HeldCluster& held : held_) {
    for (const std::string& name : held.server_names) {
      if (names_.contains(name)) continue;
      if (const auto kept = holder(name, {}, process)) {
        process.clusters[*kept].server_names.push_back(name);
      }
    }
  }
  settle_default(process);
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
