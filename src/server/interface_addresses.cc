// SPDX-License-Identifier: GPL-3.0-or-later
// SIOCGIFCONF (netdevice(7)) has those of IPv4 alone; a file has those of IPv6.
#include "interface_addresses.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>

#include "sluice/base/bytes.h"

namespace sluice::server {
namespace {

constexpr std::size_t interfaces_max = 4096;

void add_ipv4(std::vector<io::Address>& addresses) {
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return;
  std::vector<ifreq> interfaces(64);
  ifconf question{};
  // What is filled to the end may be cut short.
  for (;; interfaces.resize(interfaces.size() * 4)) {
    question.ifc_len = static_cast<int>(interfaces.size() * sizeof(ifreq));
    question.ifc_req = interfaces.data();
    if (ioctl(descriptor, SIOCGIFCONF, &question) != 0) question.ifc_len = 0;
    const auto bytes = static_cast<std::size_t>(question.ifc_len);
    if (bytes / sizeof(ifreq) < interfaces.size() || interfaces.size() >= interfaces_max) break;
  }
  close(descriptor);
  interfaces.resize(static_cast<std::size_t>(question.ifc_len) / sizeof(ifreq));
  for (const ifreq& each : interfaces) {
    const auto address = io::Address::from_sockaddr(&each.ifr_addr, sizeof(sockaddr_in));
    if (address.family() == AF_INET) addresses.push_back(io::Address::from_ip(address.ip(), 0));
  }
}

}  // namespace

std::vector<io::Address> parse_if_inet6(std::string_view text) {
  std::vector<io::Address> addresses;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::array<std::uint8_t, 16> ip{};
    bool good = line.size() > 2 * ip.size() && line[2 * ip.size()] == ' ';
    for (std::size_t i = 0; good && i < ip.size(); ++i) {
      const char* digits = line.data() + 2 * i;
      const auto [rest, error] = std::from_chars(digits, digits + 2, ip[i], 16);
      good = error == std::errc{} && rest == digits + 2;
    }
    if (good) addresses.push_back(io::Address::from_ip(Bytes(ip), 0));
  }
  return addresses;
}

std::vector<io::Address> interface_addresses() {
  std::vector<io::Address> addresses;
  add_ipv4(addresses);
  // That of the process, which ProcSubset=pid leaves.
  std::ifstream file("/proc/self/net/if_inet6");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  std::ranges::copy(parse_if_inet6(text), std::back_inserter(addresses));
  return addresses;
}

}  // namespace sluice::server
