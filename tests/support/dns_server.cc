// SPDX-License-Identifier: GPL-3.0-or-later
// Questions of one name to answers.
#include "dns_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <utility>

#include "sluice/base/check.h"

namespace sluice::test {
namespace {

constexpr std::size_t head_bytes = 12;
constexpr std::uint16_t type_a = 1;
constexpr std::uint16_t type_aaaa = 28;

void append_16(std::string& out, std::uint32_t number) {
  out += static_cast<char>(number >> 8 & 0xff);
  out += static_cast<char>(number & 0xff);
}

std::uint16_t read_16(std::string_view bytes, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[at + i]); };
  return static_cast<std::uint16_t>(byte(0) << 8 | byte(1));
}

struct Asked {
  std::string name;
  std::uint16_t type = 0;
  std::size_t end = 0;  // of the question
};

std::optional<Asked> read_question(std::string_view message) {
  Asked asked;
  std::size_t at = head_bytes;
  while (at < message.size() && message[at] != '\0') {
    const auto size = static_cast<std::uint8_t>(message[at]);
    if (at + 1 + size > message.size()) return std::nullopt;
    if (!asked.name.empty()) asked.name += '.';
    asked.name += message.substr(at + 1, size);
    at += 1U + size;
  }
  if (at + 5 > message.size()) return std::nullopt;
  asked.type = read_16(message, at + 1);
  asked.end = at + 5;
  return asked;
}

void append_record(std::string& out, std::uint16_t type, std::uint32_t ttl,
                   const std::string& text) {
  std::array<char, 16> ip{};
  const bool v4 = type == type_a;
  CHECK_EQ(::inet_pton(v4 ? AF_INET : AF_INET6, text.c_str(), ip.data()), 1);
  append_16(out, 0xc000 | head_bytes);  // the name of the question
  append_16(out, type);
  append_16(out, 1);
  append_16(out, ttl >> 16);
  append_16(out, ttl & 0xffff);
  const std::size_t size = v4 ? 4 : 16;
  append_16(out, static_cast<std::uint32_t>(size));
  out.append(ip.data(), size);
}

}  // namespace

DnsServer::DnsServer() : wake_(::eventfd(0, EFD_CLOEXEC)) {
  const io::Address any = *io::Address::parse("127.0.0.1:0");
  // A port that is free for both.
  for (;;) {
    udp_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    tcp_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(::bind(udp_, any.data(), any.size()), 0);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    CHECK_EQ(::getsockname(udp_, reinterpret_cast<sockaddr*>(&bound), &size), 0);
    address_ = io::Address::from_sockaddr(reinterpret_cast<sockaddr*>(&bound), size);
    if (::bind(tcp_, address_.data(), address_.size()) == 0) break;
    ::close(udp_);
    ::close(tcp_);
  }
  CHECK_EQ(::listen(tcp_, 16), 0);
  thread_ = std::thread([this] { run(); });
}

DnsServer::~DnsServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  const std::uint64_t one = 1;
  (void)!::write(wake_, &one, sizeof one);
  thread_.join();
  for (const int descriptor : {udp_, tcp_, wake_}) ::close(descriptor);
}

void DnsServer::set(const std::string& name, Reply reply) {
  const std::lock_guard lock(mutex_);
  replies_[name] = std::move(reply);
}

std::size_t DnsServer::asked(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = asked_.find(name);
  return found == asked_.end() ? 0 : found->second;
}

std::size_t DnsServer::asked_over_tcp() const {
  const std::lock_guard lock(mutex_);
  return over_tcp_;
}

void DnsServer::run() {
  for (;;) {
    std::array<pollfd, 3> sockets{{{udp_, POLLIN, 0}, {tcp_, POLLIN, 0}, {wake_, POLLIN, 0}}};
    (void)::poll(sockets.data(), sockets.size(), late_.empty() ? -1 : 20);
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    if (sockets[0].revents != 0) take_datagram();
    if (sockets[1].revents != 0) take_connection();
    send_late();
  }
}

std::string DnsServer::answer(std::string_view question, bool datagram,
                              std::chrono::milliseconds& delay) {
  if (question.size() < head_bytes) return {};
  const auto asked = read_question(question);
  if (!asked) return {};
  const std::lock_guard lock(mutex_);
  ++asked_[asked->name];
  if (!datagram) ++over_tcp_;
  const auto found = replies_.find(asked->name);
  const Reply reply = found == replies_.end() ? Reply{.code = Code::no_such_name} : found->second;
  if (reply.silent) return {};
  delay = reply.delay;
  const bool cut = datagram && reply.truncated;
  std::vector<std::string> records;
  if (!cut && asked->type == type_a) records = reply.ipv4;
  if (!cut && asked->type == type_aaaa) records = reply.ipv6;
  const Code code =
      asked->type == type_aaaa && reply.ipv6_fails ? Code::server_failure : reply.code;
  if (code != Code::good) records.clear();
  std::string out(question.substr(0, 2));
  // A response, authoritative, to a question that wanted recursion, which is available.
  append_16(out, 0x8580U | (cut ? 0x0200U : 0U) | static_cast<std::uint32_t>(code));
  append_16(out, 1);
  append_16(out, static_cast<std::uint32_t>(records.size()));
  append_16(out, 0);
  append_16(out, 0);
  out += question.substr(head_bytes, asked->end - head_bytes);
  for (const std::string& record : records) append_record(out, asked->type, reply.ttl, record);
  return out;
}

void DnsServer::take_datagram() {
  std::array<char, 4096> bytes{};
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  const ssize_t got =
      ::recvfrom(udp_, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
  if (got <= 0) return;
  std::chrono::milliseconds delay{0};
  std::string out = answer({bytes.data(), static_cast<std::size_t>(got)}, true, delay);
  if (out.empty()) return;
  const auto* raw = reinterpret_cast<const std::uint8_t*>(&from);
  late_.push_back({Clock::now() + delay, std::move(out), {raw, raw + size}});
}

void DnsServer::send_late() {
  std::erase_if(late_, [&](const Late& each) {
    if (each.due > Clock::now()) return false;
    (void)::sendto(udp_, each.bytes.data(), each.bytes.size(), 0,
                   reinterpret_cast<const sockaddr*>(each.to.data()),
                   static_cast<socklen_t>(each.to.size()));
    return true;
  });
}

// One question, which its client sends at once.
void DnsServer::take_connection() {
  const int client = ::accept4(tcp_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  std::array<char, 4096> bytes{};
  std::size_t got = 0;
  while (got < 2 || got < 2U + read_16({bytes.data(), got}, 0)) {
    pollfd readable{client, POLLIN, 0};
    if (::poll(&readable, 1, 2000) <= 0) break;
    const ssize_t more = ::recv(client, bytes.data() + got, bytes.size() - got, 0);
    if (more <= 0) break;
    got += static_cast<std::size_t>(more);
  }
  std::chrono::milliseconds delay{0};
  if (got > 2) {
    const std::string out = answer({bytes.data() + 2, got - 2}, false, delay);
    std::string framed;
    append_16(framed, static_cast<std::uint32_t>(out.size()));
    framed += out;
    if (!out.empty()) (void)::send(client, framed.data(), framed.size(), MSG_NOSIGNAL);
  }
  ::close(client);
}

}  // namespace sluice::test
