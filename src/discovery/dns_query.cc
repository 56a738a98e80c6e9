// SPDX-License-Identifier: GPL-3.0-or-later
// A channel of c-ares with two questions.
#include "dns_query.h"

#include <ares.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::discovery {
namespace {

// For one try at one server; the second waits twice as long.
constexpr int try_milliseconds = 1500;
constexpr int tries = 2;
// What passes everywhere in one datagram (RFC 9715 section 3).
constexpr int datagram_bytes = 1232;

std::string servers_text(const std::vector<io::Address>& servers) {
  std::string text;
  for (const io::Address& server : servers) {
    if (!text.empty()) text += ',';
    text += server.to_string();
  }
  return text;
}

Records records_of(const ares_addrinfo& found) {
  Records records;
  int ttl = static_cast<int>(NameState::again_max / std::chrono::seconds(1));
  for (const ares_addrinfo_node* node = found.nodes; node != nullptr; node = node->ai_next) {
    ttl = std::min(ttl, node->ai_ttl);
    if (records.addresses.size() > NameState::addresses_max) continue;
    records.addresses.push_back(io::Address::from_sockaddr(node->ai_addr, node->ai_addrlen));
  }
  for (const ares_addrinfo_cname* alias = found.cnames; alias != nullptr; alias = alias->next) {
    ttl = std::min(ttl, alias->ttl);
  }
  records.ttl = std::chrono::seconds(std::max(ttl, 0));
  return records;
}

// Somebody knows that there is none.
bool says_none(int status) { return status == ARES_ENODATA || status == ARES_ENOTFOUND; }

std::string_view sentence(int status) {
  switch (status) {
    case ARES_ENOTFOUND: return "there is no such name";
    case ARES_ENODATA: return "it has no addresses";
    case ARES_ESERVFAIL: return "the server failed";
    case ARES_EREFUSED: return "the server refuses to answer";
    case ARES_ETIMEOUT: return "no answer in time";
    case ARES_ECONNREFUSED: return "no server can be reached";
    default: return ares_strerror(status);
  }
}

}  // namespace

struct DnsQuery::Channel {
  // Of one kind of address.
  struct Asked {
    bool over = false;
    std::optional<Records> records;
    int status = ARES_ETIMEOUT;
  };
  ares_channel channel = nullptr;
  Asked ipv4, ipv6;
  std::string failed;  // for both

  static void answered(void* argument, int status, int /*timeouts*/,
                       ares_addrinfo* found) noexcept {
    Asked& asked = *static_cast<Asked*>(argument);
    asked.over = true;
    if (status == ARES_EDESTRUCTION) return;
    asked.status = status;
    if (status == ARES_SUCCESS && found != nullptr) asked.records = records_of(*found);
    if (says_none(status)) asked.records = Records{};
    if (found != nullptr) ares_freeaddrinfo(found);
  }

  void ask(const std::string& name, int family, Asked& asked) {
    ares_addrinfo_hints hints{};
    hints.ai_family = family;
    hints.ai_socktype = SOCK_STREAM;
    // Sorting would connect sockets to the addresses.
    hints.ai_flags = ARES_AI_NOSORT;
    ares_getaddrinfo(channel, name.c_str(), nullptr, &hints, answered, &asked);
  }

  void end() {
    if (channel != nullptr) ares_destroy(std::exchange(channel, nullptr));
    ipv4.over = ipv6.over = true;
  }
};

DnsQuery::DnsQuery(const Question& question, Instant now)
    : deadline_(now + question.deadline), channel_(std::make_unique<Channel>()) {
  ares_options options{};
  options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_EDNS;
  options.timeout = try_milliseconds;
  options.tries = tries;
  options.ednspsz = datagram_bytes;
  int status =
      ares_init_options(&channel_->channel, &options,
                        ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ);
  if (status == ARES_SUCCESS && !question.servers.empty()) {
    status = ares_set_servers_ports_csv(channel_->channel, servers_text(question.servers).c_str());
  }
  if (status != ARES_SUCCESS) {
    give_up(ares_strerror(status));
    return;
  }
  channel_->ask(question.name, AF_INET, channel_->ipv4);
  channel_->ask(question.name, AF_INET6, channel_->ipv6);
}

DnsQuery::~DnsQuery() { channel_->end(); }

void DnsQuery::give_up(std::string_view why) {
  channel_->end();
  channel_->failed = why;
}

void DnsQuery::append_sockets(std::vector<pollfd>& sockets) const {
  if (channel_->channel == nullptr) return;
  std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> open{};
  const auto mask = static_cast<unsigned>(
      ares_getsock(channel_->channel, open.data(), static_cast<int>(open.size())));
  for (unsigned i = 0; i < open.size(); ++i) {
    short events = 0;
    if (ARES_GETSOCK_READABLE(mask, i)) events |= POLLIN;
    if (ARES_GETSOCK_WRITABLE(mask, i)) events |= POLLOUT;
    if (events != 0) sockets.push_back({open[i], events, 0});
  }
}

Duration DnsQuery::wait_max(Instant now) const {
  const Duration own = std::max(deadline_ - now, Duration::zero());
  if (channel_->channel == nullptr) return Duration::zero();
  timeval next{};
  if (ares_timeout(channel_->channel, nullptr, &next) == nullptr) return own;
  return std::min(
      own, Duration(std::chrono::seconds(next.tv_sec)) + std::chrono::microseconds(next.tv_usec));
}

void DnsQuery::drive(const std::vector<pollfd>& sockets, Instant now) {
  if (over()) return;
  std::vector<pollfd> own;
  append_sockets(own);
  for (const pollfd& each : own) {
    const auto polled = std::ranges::find(sockets, each.fd, &pollfd::fd);
    if (polled == sockets.end() || polled->revents == 0) continue;
    const bool reads = (polled->revents & (POLLIN | POLLERR | POLLHUP)) != 0;
    const bool writes = (polled->revents & POLLOUT) != 0;
    ares_process_fd(channel_->channel, reads ? each.fd : ARES_SOCKET_BAD,
                    writes ? each.fd : ARES_SOCKET_BAD);
  }
  ares_process_fd(channel_->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  if (!over() && now >= deadline_) give_up("");
}

bool DnsQuery::over() const { return channel_->ipv4.over && channel_->ipv6.over; }

NameAnswer DnsQuery::answer() const {
  NameAnswer answer{channel_->ipv4.records, channel_->ipv6.records, channel_->failed};
  if (!answer.error.empty()) return answer;
  const bool found = (answer.ipv4 && !answer.ipv4->addresses.empty()) ||
                     (answer.ipv6 && !answer.ipv6->addresses.empty());
  const int status = channel_->ipv4.status;
  if (!found && status == channel_->ipv6.status) {
    answer.error = sentence(status);
    return answer;
  }
  for (const auto& [asked, kind] :
       {std::pair{&channel_->ipv4, "IPv4"}, {&channel_->ipv6, "IPv6"}}) {
    // One kind alone is what most names have.
    if (found && asked->records) continue;
    if (!answer.error.empty()) answer.error += "; ";
    answer.error += std::string(kind) + ": ";
    answer.error += sentence(asked->status);
  }
  return answer;
}

}  // namespace sluice::discovery
