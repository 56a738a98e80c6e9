// SPDX-License-Identifier: GPL-3.0-or-later
// Checks of addresses: where we listen, and where the API servers are.
#include <algorithm>
#include <string_view>

#include "checks.h"
#include "sluice/base/ascii.h"
#include "sluice/base/quote.h"

namespace sluice::config {

namespace {

// Everything before the last colon that is not an IPv6 address and has a letter in it.
bool looks_like_name(std::string_view text) {
  const std::string_view host = text.substr(0, text.rfind(':'));
  if (host.find(':') != std::string_view::npos || host.starts_with('[')) return false;
  return std::ranges::any_of(host, ascii::is_letter);
}

void wrong_address(Reporter& report, const About& about, const std::string& text,
                   const Error& error) {
  if (!looks_like_name(text)) return report.mistake(about, "--{}: {}.", about.flag, error.context);
  report.mistake(about,
                 "--{}={}: names are not resolved here; write an address like 10.0.0.1:6443.",
                 about.flag, quote(text));
}

bool any_address(const io::Address& address) {
  return address.host() == "0.0.0.0" || address.host() == "::";
}

bool overlap(const io::Address& a, const io::Address& b) {
  if (a.port() != b.port() || a.port() == 0) return false;
  if (a == b) return true;
  return a.family() == b.family() && (any_address(a) || any_address(b));
}

bool loopback(const io::Address& address) {
  return address.host().starts_with("127.") || address.host() == "::1";
}

// As far as can be told without asking which addresses are ours.
bool reaches(const io::Address& target, const io::Address& listener) {
  if (any_address(target)) return false;  // a mistake of its own
  const bool takes_both = listener.host() == "::" && target.port() == listener.port();
  return target == listener || (loopback(target) && (takes_both || overlap(target, listener)));
}

void check_listener(const std::string& text, std::size_t element, Reporter& report,
                    Validation& process) {
  const About about("listen", element);
  const auto address = io::Address::parse(text);
  if (!address) return wrong_address(report, about, text, address.error());
  for (const io::Address& other : process.listen) {
    if (!overlap(*address, other)) continue;
    report.mistake(about, "--listen={} overlaps with --listen={}: keep one of them.", quote(text),
                   quote(other.to_string()));
  }
  process.listen.push_back(*address);
  if (address->port() == 0) report.note(about, "--listen={}: the system chooses the port.", text);
}

void check_admin(const std::string& text, Reporter& report, Validation& process) {
  if (text.empty()) {
    return report.note("admin-listen",
                       "--admin-listen is empty: no metrics, no readiness, no status.");
  }
  const auto admin = io::Address::parse(text);
  if (!admin) return wrong_address(report, "admin-listen", text, admin.error());
  for (const io::Address& address : process.listen) {
    if (!overlap(*admin, address)) continue;
    report.mistake("admin-listen",
                   "--admin-listen={} overlaps with --listen={}: give it a port of its own.",
                   quote(text), quote(address.to_string()));
  }
  process.admin_listen.push_back(*admin);
  if (loopback(*admin)) return;
  report.warning("admin-listen",
                 "--admin-listen={} can be reached from outside, without TLS: it shows users' "
                 "request counts and backend addresses.",
                 text);
}

void check_backend_name(const std::string& text, const About& about, Reporter& report,
                        CheckedCluster& cluster) {
  const auto place = discovery::parse_place(text);
  if (!place) return report.mistake(about, "--backend: {}.", place.error().context);
  const auto& target = std::get<discovery::Target>(*place);
  if (std::ranges::find(cluster.backend_names, target) != cluster.backend_names.end()) {
    report.mistake(about, "--backend={} is given twice: keep one of them.", quote(text));
  }
  cluster.backend_names.push_back(target);
}

void check_backend(const std::string& text, std::size_t element, const Validation& process,
                   Reporter& report, CheckedCluster& cluster) {
  const About about("backend", element);
  if (looks_like_name(text)) return check_backend_name(text, about, report, cluster);
  const auto address = parse_reachable(report, about, text, process);
  if (!address) return;
  if (std::ranges::find(cluster.backends, *address) != cluster.backends.end()) {
    report.mistake(about, "--backend={} is given twice: keep one of them.", quote(text));
  }
  const std::string& name = cluster.config.backend_server_name;
  cluster.backends.push_back(*address);
  cluster.backend_server_names.push_back(name.empty() ? address->host() : name);
}

void check_backend_server_name(const std::string& name, Reporter& report) {
  const bool good =
      name.size() <= 253 && std::ranges::all_of(name, [](char c) {
        return ascii::is_alphanumeric(c) || c == '-' || c == '.' || c == ':' || c == '_';
      });
  if (good && !name.starts_with('.') && !name.contains("..")) return;
  report.mistake("backend-server-name",
                 "--backend-server-name={} is no host name or IP address: write what the API "
                 "servers' certificates carry, like kubernetes.default.svc.",
                 quote(name));
}

Result<std::vector<discovery::Place>> read_places(const Environment& environment,
                                                  const Validation& process,
                                                  const std::string& path) {
  const auto text = environment.read_file(path);
  if (!text) return std::unexpected(text.error());
  auto places = discovery::parse_places(*text);
  if (!places) return places;
  for (const discovery::Place& place : *places) {
    const auto* address = std::get_if<io::Address>(&place);
    if (address == nullptr) continue;
    for (const io::Address& ours : process.listen) {
      if (!reaches(*address, ours)) continue;
      return fail(ErrorKind::invalid_argument,
                  address->to_string() + " is our own --listen address");
    }
  }
  return places;
}

// Whoever writes it writes often, and perhaps not at once: what is wrong with it is no mistake that
// would keep the rest of the cluster's changes from being taken over.
void check_backend_file(const Environment& environment, const Validation& process, Reporter& report,
                        CheckedCluster& cluster) {
  const std::string& path = cluster.config.backend_file;
  if (path.empty()) return;
  discovery::PlacesFile& file = cluster.backend_file.emplace();
  file.path = path;
  auto places = read_places(environment, process, path);
  if (places) {
    file.places = std::move(*places);
    return;
  }
  file.error = places.error().context;
  report.warning("backend-file",
                 "--backend-file={} cannot be used ({}): what it said before counts, if it was "
                 "read before.",
                 printable(path), file.error);
}

// What is written is right when it counts again.
void hibernate(Reporter& report, CheckedCluster& cluster) {
  cluster.backends.clear();
  cluster.backend_names.clear();
  cluster.backend_file.reset();
  cluster.slices.reset();
  cluster.own_slice.reset();
  cluster.backend_server_names.clear();
  report.note("hibernated", "It hibernates: its clients are answered with 503 and Retry-After.");
}

}  // namespace

// Of one owner's, [::] leaves IPv4 to an address that is there for it; of two owners it might take
// the other's clients.
bool compete(const io::Address& a, const io::Address& b) {
  const bool all_of_both =
      a.port() != 0 && a.port() == b.port() && any_address(a) && any_address(b);
  return overlap(a, b) || all_of_both;
}

void check_listeners(Reporter& report, Validation& process) {
  const ProcessConfig& config = process.config;
  if (config.listen.empty() && config.clusters.empty()) {
    report.mistake("listen", "--listen is empty: write at least one address like 0.0.0.0:6443.");
  }
  for (std::size_t i = 0; i < config.listen.size(); ++i) {
    check_listener(config.listen[i], i, report, process);
  }
  check_admin(config.admin_listen, report, process);
}

void check_dns_servers(Reporter& report, Validation& process) {
  const std::vector<std::string>& texts = process.config.dns_servers;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const About about("dns-server", i);
    const auto address = io::Address::parse(texts[i]);
    if (!address) {
      wrong_address(report, about, texts[i], address.error());
    } else if (!discovery::can_be_reached(*address)) {
      report.mistake(about, "--dns-server={}: nothing can be reached there.", quote(texts[i]));
    } else if (std::ranges::find(process.dns_servers, *address) != process.dns_servers.end()) {
      report.mistake(about, "--dns-server={} is given twice: keep one of them.", quote(texts[i]));
    } else {
      process.dns_servers.push_back(*address);
    }
  }
}

std::optional<io::Address> parse_reachable(Reporter& report, const About& about,
                                           const std::string& text, const Validation& process) {
  const auto address = io::Address::parse(text);
  if (!address) {
    wrong_address(report, about, text, address.error());
    return std::nullopt;
  }
  if (address->port() == 0 || any_address(*address)) {
    report.mistake(about,
                   "--{}={}: nothing can be reached there; write an API server's own address and "
                   "port.",
                   about.flag, quote(text));
  }
  for (const io::Address& ours : process.listen) {
    if (!reaches(*address, ours)) continue;
    report.mistake(about,
                   "--{}={} is our own --listen address: requests would run in a circle; write an "
                   "API server's address.",
                   about.flag, quote(text));
  }
  return *address;
}

void check_own_listeners(const Validation& process, Reporter& report, std::size_t number,
                         const std::vector<std::string>& texts, Claims& claims) {
  std::vector<io::Address> seen;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const About about("listen", i);
    const auto address = io::Address::parse(texts[i]);
    if (!address) {
      wrong_address(report, about, texts[i], address.error());
      continue;
    }
    for (const io::Address& other : seen) {
      if (!overlap(*address, other)) continue;
      report.mistake(about,
                     "--listen={} overlaps with {}, another address of the cluster: keep "
                     "one of them.",
                     quote(texts[i]), quote(other.to_string()));
    }
    for (const auto* others : {&process.listen, &process.admin_listen}) {
      for (const io::Address& other : *others) {
        if (!compete(*address, other)) continue;
        report.mistake(about,
                       "--listen={} overlaps with {}, which is the process's: keep one of them.",
                       quote(texts[i]), quote(other.to_string()));
      }
    }
    seen.push_back(*address);
    claims.add_listener(*address, {number, report.where(about)});
  }
}

void check_backends(const Environment& environment, const Validation& process, Reporter& report,
                    CheckedCluster& cluster) {
  const std::vector<std::string>& texts = cluster.config.backends;
  const bool hibernated = cluster.config.hibernated;
  const bool others =
      !cluster.config.backend_file.empty() || !cluster.config.discovery_kubeconfig.empty();
  if (texts.empty() && !others && !hibernated) {
    report.mistake("backend",
                   "--backend is missing: write --backend=HOST:PORT for each API server, or "
                   "--hibernated if there is none for now.");
  }
  if (texts.size() > balance::backends_max) {
    report.mistake({"backend", balance::backends_max},
                   "--backend is given {} times: at most {} are possible.", texts.size(),
                   balance::backends_max);
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    check_backend(texts[i], i, process, report, cluster);
  }
  check_backend_file(environment, process, report, cluster);
  check_discovery(environment, report, cluster);
  check_self_discovery(report, cluster);
  check_backend_server_name(cluster.config.backend_server_name, report);
  if (hibernated) return hibernate(report, cluster);
  if (cluster.backends.size() == 1 && cluster.backend_names.empty() && !others &&
      !cluster.own_slice) {
    report.note("backend",
                "There is one backend only: nothing to balance, and nowhere to go when it is "
                "lost.");
  }
}

}  // namespace sluice::config
