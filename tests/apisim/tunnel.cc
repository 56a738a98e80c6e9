// SPDX-License-Identifier: GPL-3.0-or-later
// Tunnels of a simulated API server.
#include "tunnel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "sluice/base/ascii.h"
#include "sluice/io/socket.h"

namespace sluice::apisim {
namespace {

constexpr std::size_t head_bytes_max = 1024 * 1024;
constexpr std::size_t output_bytes_max = 256 * 1024;
constexpr std::string_view bearer_protocol = "base64url.bearer.authorization.k8s.io.";

std::string decode_base64url(std::string_view text) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t digit = digits.find(c);
    if (digit == std::string_view::npos) return {};
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    if ((count += 6) < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  return out;
}

// k8s.io/apiserver pkg/authentication/request/websocket: it counts like an Authorization field.
void take_bearer_protocol(http::Fields& fields) {
  const std::string protocols(fields.find("sec-websocket-protocol").value_or(""));
  const std::size_t begin = protocols.find(bearer_protocol);
  if (begin == std::string::npos || fields.contains("authorization")) return;
  const std::size_t token = begin + bearer_protocol.size();
  const std::size_t end = std::min(protocols.find(',', token), protocols.size());
  fields.add("authorization", "Bearer " + decode_base64url(protocols.substr(token, end - token)));
}

}  // namespace

Tunnel::Tunnel(ApiServer& server, net::Connection& connection, int descriptor, std::uint64_t number,
               const PeerFacts& peer)
    : server_(server),
      connection_(connection),
      descriptor_(descriptor),
      number_(number),
      peer_(peer),
      timer_(io::Timer::bind<&Tunnel::timer_passed>(this)) {}

Tunnel::~Tunnel() {
  if (stage_ == Stage::tunnel) --server_.counters.tunnels_open;
}

std::string Tunnel::parameter(std::string_view name) const {
  const std::string key = std::string(name) + '=';
  const std::size_t query = head_.path.find('?');
  const std::size_t at = query == std::string::npos ? query : head_.path.find(key, query);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + key.size();
  return head_.path.substr(begin, std::min(head_.path.find('&', begin), head_.path.size()) - begin);
}

void Tunnel::feed(Bytes plain) {
  switch (stage_) {
    case Stage::head:
      input_ += as_text(plain);
      if (input_.size() > head_bytes_max) return connection_.terminate();
      if (take_head()) answer();
      return;
    case Stage::delayed: server_.counters.early_tunnel_bytes += plain.size(); return;
    case Stage::tunnel: return take(as_text(plain));
    case Stage::over: server_.counters.late_tunnel_bytes += plain.size(); return;
  }
}

// The head and the body by its length; what is behind them comes too early.
bool Tunnel::take_head() {
  const std::size_t end = input_.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  std::string_view text = std::string_view(input_).substr(0, end + 2);
  const std::string_view line = text.substr(0, text.find("\r\n"));
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  head_ = {};
  head_.method = line.substr(0, first);
  head_.path = line.substr(first + 1, last - first - 1);
  for (text.remove_prefix(line.size() + 2); !text.empty();) {
    const std::size_t size = text.find("\r\n");
    const std::size_t colon = text.find(':');
    const std::string name = ascii::lowered(text.substr(0, colon));
    head_.fields.add(name, ascii::trim(text.substr(colon + 1, size - colon - 1)));
    text.remove_prefix(size + 2);
  }
  const std::string length(head_.fields.find("content-length").value_or("0"));
  const std::size_t body = std::strtoull(length.c_str(), nullptr, 10);
  if (input_.size() < end + 4 + body) return false;
  server_.counters.early_tunnel_bytes += input_.size() - (end + 4 + body);
  server_.counters.tunnel_body_bytes += body;
  input_.clear();
  return true;
}

void Tunnel::answer() {
  ++server_.counters.tunnel_requests;
  stage_ = Stage::delayed;
  http::Fields fields = head_.fields;
  if (ascii::equal_ignoring_case(head_.fields.find("upgrade").value_or(""), "websocket")) {
    take_bearer_protocol(fields);
  }
  Identity identity;
  const auto verdict = server_.shared().authenticator.authenticate(fields, peer_, &identity);
  SeenRequest seen;
  seen.connection = number_;
  seen.peer = peer_.kind;
  seen.user = identity.user;
  seen.head = head_;
  record_ = server_.record(std::move(seen));
  if (verdict == Authenticator::Verdict::unauthorized) return refuse(401, "", "Unauthorized\n");
  if (verdict == Authenticator::Verdict::anonymous) return refuse(403, "", "Forbidden\n");
  sim_ = parameter("sim");
  if (sim_ == "never") return;
  if (sim_ == "late") {
    const std::string delay = parameter("delay");
    return server_.transport().reactor().timers().set(
        timer_, server_.transport().reactor().now(),
        std::chrono::milliseconds(delay.empty() ? 1000 : std::atoi(delay.c_str())));
  }
  if (sim_ == "refuse") return refuse(400, "", "you must specify a container\n");
  if (sim_ == "chunks") {
    stage_ = Stage::over;
    output_ =
        "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        "6\r\nsecond\r\n0\r\n\r\n";
  } else if (sim_ == "close") {
    stage_ = Stage::over;
    output_ = "HTTP/1.1 500 Internal Server Error\r\n\r\nup to the end";
    closes_ = true;
  } else if (sim_ == "twice") {
    refuse(400, "", "one\n");
    output_ += "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntwo\n";
  } else if (sim_ == "rubbish") {
    stage_ = Stage::over;
    output_ = "SSH-2.0-OpenSSH_9.2p1\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n";
  } else if (sim_ == "leave") {
    stage_ = Stage::over;
    closes_ = true;
  } else {
    return open();
  }
  connection_.mark_dirty();
}

void Tunnel::refuse(int status, std::string_view fields, std::string_view body) {
  stage_ = Stage::over;
  server_.record_status(record_, status);
  output_ += fmt::format(
      "HTTP/1.1 {} Refused\r\nContent-Type: text/plain\r\n{}Content-Length: {}\r\n"
      "\r\n{}",
      status, fields, body.size(), body);
  connection_.mark_dirty();
}

void Tunnel::timer_passed() { open(); }

void Tunnel::open() {
  stage_ = Stage::tunnel;
  ++server_.counters.tunnels_opened;
  ++server_.counters.tunnels_open;
  server_.record_status(record_, 101);
  const std::string protocol(head_.fields.find("upgrade").value_or(""));
  output_ += fmt::format(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {}\r\n"
      "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n",
      sim_ == "other" ? "telnet" : protocol);
  if (sim_ == "hello") {
    output_ += "hello";
    end_ = true;
  } else if (sim_ == "flood") {
    flood_bytes_ = std::strtoull(parameter("bytes").c_str(), nullptr, 10);
    end_ = true;
  } else if (sim_ == "stall") {
    connection_.pause_receiving();
  }
  connection_.mark_dirty();
}

void Tunnel::take(std::string_view bytes) {
  received_ += bytes.size();
  server_.counters.tunnel_bytes += bytes.size();
  if (sim_ == "sink" || sim_ == "hello" || sim_ == "flood") return;
  output_ += bytes;
  if (sim_ == "cut") end_ = false;
  if (sim_ == "reset") {
    io::reset_on_close(descriptor_);
    return connection_.terminate();
  }
  if (output_.size() - output_at_ > output_bytes_max) connection_.pause_receiving();
  connection_.mark_dirty();
}

void Tunnel::peer_ended() {
  peer_ended_ = true;
  if (stage_ != Stage::tunnel) return connection_.close();
  if (sim_ == "sink") output_ += std::to_string(received_);
  if (!end_) end_ = true;
  connection_.mark_dirty();
  look_for_end();
}

std::size_t Tunnel::collect(MutableBytes batch) {
  std::size_t bytes = std::min(batch.size(), output_.size() - output_at_);
  if (bytes > 0) std::memcpy(batch.data(), output_.data() + output_at_, bytes);
  output_at_ += bytes;
  if (output_at_ == output_.size()) {
    output_.clear();
    output_at_ = 0;
    const auto more =
        static_cast<std::size_t>(std::min<std::uint64_t>(flood_bytes_, batch.size() - bytes));
    if (more > 0) std::memset(batch.data() + bytes, 'x', more);
    flood_bytes_ -= more;
    bytes += more;
    if (sim_ != "stall") connection_.resume_receiving();
  }
  if (output_.empty() && flood_bytes_ == 0) {
    if (closes_) connection_.close();
    if (end_ && stage_ == Stage::tunnel && !std::exchange(ended_, true)) half_end(*end_);
  }
  return bytes;
}

void Tunnel::half_end(bool in_order) {
  connection_.end_output(in_order);
  look_for_end();
}

void Tunnel::look_for_end() {
  if (!ended_ || !peer_ended_ || stage_ != Stage::tunnel) return;
  stage_ = Stage::over;
  --server_.counters.tunnels_open;
  ++server_.counters.tunnels_ended;
  connection_.close();
}

}  // namespace sluice::apisim
