// SPDX-License-Identifier: GPL-3.0-or-later
// A balancer of TCP connections.
#include "balancer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"

namespace sluice::test {

Balancer::Balancer(const io::Address& target) : target_(target) {
  listener_ = io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value();
  address_ = io::local_address(listener_).value();
  thread_ = std::thread([this] { run(); });
}

Balancer::~Balancer() {
  stopping_ = true;
  thread_.join();
  for (const Pair& pair : pairs_) {
    ::close(pair.client);
    ::close(pair.target);
  }
  ::close(listener_);
}

void Balancer::run() {
  constexpr int look_around_every_milliseconds = 20;
  while (!stopping_) {
    std::vector<pollfd> waiting = {{listener_, POLLIN, 0}};
    const auto events = [](const Way& in, const Way& out) {
      const bool reads = in.bytes.empty() && !in.ended;
      return static_cast<short>((reads ? POLLIN : 0) | (out.bytes.empty() ? 0 : POLLOUT));
    };
    for (const Pair& pair : pairs_) {
      waiting.push_back({pair.client, events(pair.up, pair.down), 0});
      waiting.push_back({pair.target, events(pair.down, pair.up), 0});
    }
    if (::poll(waiting.data(), waiting.size(), look_around_every_milliseconds) <= 0) continue;
    std::size_t at = 1;
    for (auto pair = pairs_.begin(); pair != pairs_.end(); at += 2) {
      const bool lives = move(*pair, waiting[at].revents, waiting[at + 1].revents);
      if (!lives) {
        ::close(pair->client);
        ::close(pair->target);
      }
      pair = lives ? std::next(pair) : pairs_.erase(pair);
    }
    if ((waiting[0].revents & POLLIN) != 0) accept();
  }
}

void Balancer::accept() {
  const int client = io::accept_now(listener_);
  if (client < 0) return;
  const int target = ::socket(target_.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(target >= 0);
  if (::connect(target, target_.data(), target_.size()) != 0) {
    ::close(client);
    ::close(target);
    return;
  }
  const std::scoped_lock lock(mutex_);
  pairs_.push_back({.client = client, .target = target, .up = {.bytes = header_}, .down = {}});
}

bool Balancer::move(Pair& pair, short client_events, short target_events) {
  constexpr short readable = POLLIN | POLLHUP | POLLERR;
  const bool lives = move(pair.up, pair.client, pair.target, (client_events & readable) != 0) &&
                     move(pair.down, pair.target, pair.client, (target_events & readable) != 0);
  return lives && !(pair.up.closed && pair.down.closed);
}

bool Balancer::move(Way& way, int from, int to, bool readable) {
  if (readable && way.bytes.empty() && !way.ended) {
    std::array<char, 65536> buffer;
    const ssize_t got = ::recv(from, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (got > 0) way.bytes.assign(buffer.data(), static_cast<std::size_t>(got));
    way.ended = got == 0;
  }
  if (!way.bytes.empty()) {
    const ssize_t sent =
        ::send(to, way.bytes.data(), way.bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (sent > 0) way.bytes.erase(0, static_cast<std::size_t>(sent));
  }
  if (way.ended && way.bytes.empty() && !std::exchange(way.closed, true)) {
    ::shutdown(to, SHUT_WR);
  }
  return true;
}

}  // namespace sluice::test
