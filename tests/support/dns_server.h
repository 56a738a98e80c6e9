// SPDX-License-Identifier: GPL-3.0-or-later
// A DNS server on a loopback port, over UDP and TCP (RFC 1035), on a thread of its own. It answers
// what a test has told it to, as late and as wrongly as a test wants it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/io/address.h"

namespace sluice::test {

class DnsServer {
 public:
  enum class Code : std::uint8_t { good = 0, server_failure = 2, no_such_name = 3, refused = 5 };
  struct Reply {
    std::vector<std::string> ipv4 = {};
    std::vector<std::string> ipv6 = {};
    std::uint32_t ttl = 0;
    Code code = Code::good;
    std::chrono::milliseconds delay{0};
    bool silent = false;
    bool truncated = false;  // in datagrams: the rest is to be had over TCP
    bool ipv6_fails = false;
  };

  DnsServer();
  ~DnsServer();
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;

  const io::Address& address() const { return address_; }
  void set(const std::string& name, Reply reply);
  // Questions for that name so far; and those over TCP.
  std::size_t asked(const std::string& name) const;
  std::size_t asked_over_tcp() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Late {
    Clock::time_point due;
    std::string bytes;
    std::vector<std::uint8_t> to;
  };
  void run();
  void take_datagram();
  void take_connection();
  void send_late();
  // Empty: no answer.
  std::string answer(std::string_view question, bool datagram, std::chrono::milliseconds& delay);

  int udp_ = -1;
  int tcp_ = -1;
  int wake_ = -1;
  io::Address address_;
  mutable std::mutex mutex_;
  std::map<std::string, Reply> replies_;
  std::map<std::string, std::size_t> asked_;
  std::size_t over_tcp_ = 0;
  bool stopping_ = false;
  std::vector<Late> late_;
  std::thread thread_;
};

}  // namespace sluice::test
