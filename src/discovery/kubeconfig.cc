// SPDX-License-Identifier: GPL-3.0-or-later
// The current context of a kubeconfig.
#include "sluice/discovery/kubeconfig.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "sluice/base/ascii.h"
#include "sluice/base/quote.h"
#include "yaml_tree.h"

namespace sluice::discovery {
namespace {

std::unexpected<Error> bad(std::string what) {
  return fail(ErrorKind::invalid_argument, std::move(what));
}

constexpr std::array unsupported_of_users = {
    std::pair{"exec", "a plugin that would have to be executed; use a token file or a certificate"},
    std::pair{"auth-provider", "a plugin that is not there; use a token file or a certificate"},
    std::pair{"username", "a password; use a token file or a certificate"},
    std::pair{"password", "a password; use a token file or a certificate"},
    std::pair{"as", "impersonation; name the user that is meant itself"},
    std::pair{"as-uid", "impersonation; name the user that is meant itself"},
    std::pair{"as-groups", "impersonation; name the user that is meant itself"},
    std::pair{"as-user-extra", "impersonation; name the user that is meant itself"},
};

// RFC 4648 section 4; blanks and line ends, which YAML leaves in some texts, count for nothing.
std::optional<std::string> decode_base64(std::string_view text) {
  const auto value_of = [](char c) -> int {
    if (ascii::is_upper(c)) return c - 'A';
    if (ascii::is_lower(c)) return c - 'a' + 26;
    if (ascii::is_digit(c)) return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
  };
  std::string out;
  std::uint32_t bits = 0;
  std::size_t digits = 0;
  std::size_t padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    const int value = value_of(c);
    if (value < 0 || padding > 0) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    if (++digits % 4 == 0) {
      for (const int shift : {16, 8, 0}) out += static_cast<char>(bits >> shift & 0xff);
    }
  }
  const std::size_t rest = digits % 4;
  if ((digits + padding) % 4 != 0 || rest == 1 || padding > 2) return std::nullopt;
  if (rest >= 2) out += static_cast<char>(bits >> (rest == 2 ? 4 : 10) & 0xff);
  if (rest == 3) out += static_cast<char>(bits >> 2 & 0xff);
  return out;
}

// What a list has under a name: [{name: …, `what`: {…}}].
Result<const YamlNode*> named(const YamlNode& root, const std::string& list,
                              const std::string& what, const std::string& name) {
  const YamlNode* all = root.find(list);
  if (all != nullptr) {
    for (const YamlNode& each : all->list) {
      if (each.text_of("name") != name) continue;
      if (const YamlNode* found = each.find(what)) return found;
    }
  }
  return bad(fmt::format("its {} have no {}", list, quote(name)));
}

// `key`-data, which is base64, goes before the file `key`.
template <class Text>
Result<void> take(const YamlNode& node, const std::string& key, Text& into) {
  if (const std::string data = node.text_of(key + "-data"); !data.empty()) {
    auto decoded = decode_base64(data);
    if (!decoded || decoded->empty()) return bad(key + "-data is no base64");
    into.text = std::move(*decoded);
    return {};
  }
  into.path = node.text_of(key);
  return {};
}

Result<void> take_server(const std::string& url, Kubeconfig& config) {
  constexpr std::string_view scheme = "https://";
  if (!url.starts_with(scheme)) {
    return bad("its server " + quote(url) + " does not begin with https://");
  }
  const std::string_view rest = std::string_view(url).substr(scheme.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string authority(rest.substr(0, slash));
  std::string_view path = rest.substr(slash);
  const bool plain = std::ranges::all_of(path, [](char c) {
    return ascii::is_alphanumeric(c) || std::string_view("/-._~:").contains(c);
  });
  if (!plain) return bad("its server " + quote(url) + " has a path that is not taken");
  while (path.ends_with('/')) path.remove_suffix(1);
  const bool has_port = authority.rfind(':') != std::string::npos && !authority.ends_with(']');
  if (!has_port) authority += ":443";
  auto place = parse_place(authority);
  if (!place) return bad("its server: " + place.error().context);
  config.server = std::move(*place);
  config.path = path;
  return {};
}

std::string host_of(const Place& place) {
  if (const auto* target = std::get_if<Target>(&place)) return target->host;
  return std::get<io::Address>(place).host();
}

Result<void> take_cluster(const YamlNode& cluster, Kubeconfig& config) {
  if (cluster.text_of("insecure-skip-tls-verify") == "true") {
    return bad("insecure-skip-tls-verify is not taken: name the server's authority");
  }
  if (!cluster.text_of("proxy-url").empty()) return bad("proxy-url is not taken");
  if (auto taken = take_server(cluster.text_of("server"), config); !taken) return taken;
  config.server_name = cluster.text_of("tls-server-name");
  if (config.server_name.empty()) config.server_name = host_of(config.server);
  if (auto taken = take(cluster, "certificate-authority", config.authority); !taken) return taken;
  if (!config.authority.given()) {
    return bad("it has no certificate-authority: the server would not be verified");
  }
  return {};
}

Result<void> take_user(const YamlNode& user, Kubeconfig& config) {
  for (const auto& [key, why] : unsupported_of_users) {
    if (user.find(key) != nullptr) return bad(fmt::format("its user has \"{}\": {}", key, why));
  }
  if (auto taken = take(user, "client-certificate", config.certificate); !taken) return taken;
  if (auto taken = take(user, "client-key", config.key); !taken) return taken;
  if (config.certificate.given() != config.key.given()) {
    return bad("its user has one of client-certificate and client-key, and needs both");
  }
  // A file goes before a token, because it can be renewed.
  config.token.path = user.text_of("tokenFile");
  if (config.token.path.empty()) config.token.text = user.text_of("token");
  if (!config.token.given() && !config.certificate.given()) {
    return bad("its user has neither a token nor a certificate");
  }
  return {};
}

}  // namespace

Result<Kubeconfig> parse_kubeconfig(std::string_view text) {
  const auto root = parse_yaml(text);
  if (!root) return std::unexpected(root.error());
  const std::string current = root->text_of("current-context");
  if (current.empty()) return bad("it has no current-context");
  const auto context = named(*root, "contexts", "context", current);
  if (!context) return std::unexpected(context.error());
  const auto cluster = named(*root, "clusters", "cluster", (*context)->text_of("cluster"));
  if (!cluster) return std::unexpected(cluster.error());
  const auto user = named(*root, "users", "user", (*context)->text_of("user"));
  if (!user) return std::unexpected(user.error());
  Kubeconfig config;
  if (auto taken = take_cluster(**cluster, config); !taken) return std::unexpected(taken.error());
  if (auto taken = take_user(**user, config); !taken) return std::unexpected(taken.error());
  return config;
}

}  // namespace sluice::discovery
