// SPDX-License-Identifier: GPL-3.0-or-later
// The checks by subject. Each says what it has found and fills in what it has made of it; none
// stops at another's mistake.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/config/validate.h"

namespace sluice::config {

// What a sentence is about: a flag, the element of its list, and the flag that it disagrees with.
struct About {
  // NOLINTBEGIN(google-explicit-constructor): a sentence is about a name as it is written
  About(std::string_view name) : flag(name) {}
  About(const char* name) : flag(name) {}
  // NOLINTEND(google-explicit-constructor)
  About(std::string_view name, std::size_t which) : flag(name), element(which) {}
  About(std::string_view name, std::string_view against) : flag(name), other(against) {}

  std::string_view flag;
  std::size_t element = 0;
  std::string_view other;
};

// Takes down what is found about a process or a cluster.
class Reporter {
 public:
  // `file`: where everything is that has no place of its own; empty: nowhere.
  Reporter(const Places& places, std::string_view file, Findings& findings)
      : places_(places), file_(file), findings_(findings) {}

  template <class... Values>
  void mistake(const About& about, fmt::format_string<Values...> form, Values&&... values) {
    if (said_about_the_process(about)) return;
    findings_.mistakes.push_back(place(about) + fmt::format(form, std::forward<Values>(values)...));
  }
  template <class... Values>
  void warning(const About& about, fmt::format_string<Values...> form, Values&&... values) {
    if (said_about_the_process(about)) return;
    findings_.warnings.push_back(place(about) + fmt::format(form, std::forward<Values>(values)...));
  }
  template <class... Values>
  void note(const About& about, fmt::format_string<Values...> form, Values&&... values) {
    if (said_about_the_process(about)) return;
    findings_.notes.push_back(place(about) + fmt::format(form, std::forward<Values>(values)...));
  }

  // Whether a value of that flag stands anywhere, be it an empty one.
  bool is_said(std::string_view flag) const { return places_.contains(flag); }
  // "clusters/a.conf:7", or as much of it as there is.
  std::string where(const About& about) const;

 private:
  // Of what a cluster has taken over from the process.
  bool said_about_the_process(const About& about) const;
  const Place* find(const About& about) const;
  std::string place(const About& about) const;  // and what is between it and a sentence

  const Places& places_;
  std::string_view file_;
  Findings& findings_;
};

struct Claim {
  std::size_t cluster;  // which of the process's
  std::string where;
};

// What all clusters claim for themselves alone.
class Claims {
 public:
  explicit Claims(const std::vector<HeldCluster>& held) : held_(held) {}

  void add_name(const std::string& name, Claim claim) { names_[name].push_back(std::move(claim)); }
  void add_default(Claim claim) { default_.push_back(std::move(claim)); }
  void add_listener(const io::Address& address, Claim claim) {
    listeners_[address.port()].push_back({address, std::move(claim)});
  }
  // Gives each name and address to who holds it already, or is the only one to claim it, once all
  // clusters have been checked.
  void settle(Validation& process) const;

 private:
  using ByName = std::map<std::string, std::vector<Claim>>;
  struct ListenerClaim {
    io::Address address;
    Claim claim;
  };

  // Which of the process's clusters has it so far, as long as it wants it, or cannot say so.
  std::optional<std::size_t> holder(const std::string& name, const std::vector<Claim>& claims,
                                    const Validation& process) const;
  std::optional<std::size_t> default_holder(const Validation& process) const;
  void settle_name(const std::string& name, const std::vector<Claim>& claims,
                   Validation& process) const;
  void settle_default(Validation& process) const;
  std::optional<std::size_t> listens(const io::Address& address,
                                     const std::vector<ListenerClaim>& claims,
                                     const Validation& process) const;
  void settle_listeners(const std::vector<ListenerClaim>& claims, Validation& process) const;
  bool is_held(const CheckedCluster& cluster) const;

  const std::vector<HeldCluster>& held_;
  ByName names_;
  std::vector<Claim> default_;
  std::map<std::uint16_t, std::vector<ListenerClaim>> listeners_;  // by port
};

// Whether a client could reach both, so that they cannot be two owners' listeners.
bool compete(const io::Address& a, const io::Address& b);

// Of the process.
void check_listeners(Reporter& report, Validation& process);
void check_networks(Reporter& report, Validation& process);
void check_dns_servers(Reporter& report, Validation& process);
void check_resources(const Environment& environment, Reporter& report, Validation& process);
void check_drain(Reporter& report, Validation& process);
void check_access_log(const Environment& environment, Reporter& report,
                      const ProcessConfig& config);
// Of what the process and its clusters may both say, as it counts together.
void check_tuning(Reporter& report, const Config& config);
// Of a cluster.
void check_own_listeners(const Validation& process, Reporter& report, std::size_t number,
                         const std::vector<std::string>& texts, Claims& claims);
void check_names(Reporter& report, std::size_t number, CheckedCluster& cluster, Claims& claims);
void check_allowed_networks(Reporter& report, CheckedCluster& cluster);
// The address of somebody else; nothing when it is none.
std::optional<io::Address> parse_reachable(Reporter& report, const About& about,
                                           const std::string& text, const Validation& process);
// Says in which mode the cluster is.
void check_pass_through(const Validation& process, Reporter& report, CheckedCluster& cluster);
void check_backends(const Environment& environment, const Validation& process, Reporter& report,
                    CheckedCluster& cluster);
void check_discovery(const Environment& environment, Reporter& report, CheckedCluster& cluster);
// When its backends are read.
void check_self_discovery(Reporter& report, CheckedCluster& cluster);
void check_backend_networks(Reporter& report, const CheckedCluster& cluster,
                            std::vector<io::Network>& networks);
void check_files(const Environment& environment, Reporter& report, CheckedCluster& cluster);

}  // namespace sluice::config
