// SPDX-License-Identifier: GPL-3.0-or-later
// The control interface.
#include "control.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <optional>

#include "json.h"
#include "settings.h"
#include "sluice/io/socket.h"

namespace sluice::apisim {

namespace {

constexpr std::size_t request_bytes_max = 64 * 1024;

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

ControlReply wrong(std::string_view why, int status = 400) {
  return {status, fmt::format("{{\"error\":{}}}\n", json_string(why))};
}

void send_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(descriptor, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

}  // namespace

Control::Control(Store& store, std::vector<std::unique_ptr<Shard>>& shards, std::size_t servers)
    : store_(store), shards_(shards), servers_(servers) {}

Result<io::Address> Control::listen(const io::Address& address) {
  const auto descriptor = io::listen_on(address, {.backlog = 64, .reuse_port = false});
  if (!descriptor) return std::unexpected(descriptor.error());
  listener_ = *descriptor;
  thread_ = std::thread([this] { serve(); });
  return io::local_address(listener_);
}

void Control::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
  if (listener_ >= 0) ::close(listener_);
  listener_ = -1;
}

void Control::serve() {
  while (!stopping_) {
    pollfd waiting{listener_, POLLIN, 0};
    if (::poll(&waiting, 1, 100) <= 0) continue;
    const int descriptor = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (descriptor < 0) continue;
    const timeval timeout{5, 0};
    ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    serve_one(descriptor);
    ::close(descriptor);
  }
}

void Control::serve_one(int descriptor) {
  std::string head;
  while (!head.contains("\r\n\r\n")) {
    char buffer[4096];
    const ssize_t got = ::recv(descriptor, buffer, sizeof buffer, 0);
    if (got <= 0 || head.size() > request_bytes_max) return;
    head.append(buffer, static_cast<std::size_t>(got));
  }
  const std::string_view line = std::string_view(head).substr(0, head.find("\r\n"));
  const std::size_t first = line.find(' ');
  const std::size_t second = line.rfind(' ');
  if (first == std::string_view::npos || second <= first) return;
  const ControlReply reply = run(line.substr(0, first), line.substr(first + 1, second - first - 1));
  send_all(descriptor,
           fmt::format("HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
                       "Connection: close\r\n\r\n",
                       reply.status, reply.status == 200 ? "OK" : "Error", reply.json.size()));
  send_all(descriptor, reply.json);
  // What the client still sends must not turn our answer into a reset.
  ::shutdown(descriptor, SHUT_WR);
  const timeval timeout{0, 200'000};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  char rest[256];
  while (::recv(descriptor, rest, sizeof rest, 0) > 0) {
  }
}

std::string Control::on_server(std::size_t index, std::function<std::string(ApiServer&)> work) {
  return shards_[index % shards_.size()]->call([&](Shard& shard) {
    ApiServer* server = shard.find(index);
    return server == nullptr ? std::string() : work(*server);
  });
}

std::string Control::for_each(const std::function<std::string(ApiServer&)>& work) {
  std::string out = "[";
  for (std::size_t i = 0; i < servers_; ++i) {
    if (i > 0) out.push_back(',');
    out += on_server(i, work);
  }
  out.push_back(']');
  return out;
}

ControlReply Control::events(const Query& query) {
  if (const std::string_view rate = query.get("rate"); !rate.empty()) {
    double per_second = 0;
    const auto [end, error] = std::from_chars(rate.data(), rate.data() + rate.size(), per_second);
    if (error != std::errc() || per_second < 0 || per_second > 1e6) {
      return wrong("rate is a number of events a second");
    }
    shards_[0]->set_event_rate(per_second);
  }
  if (const std::string_view count = query.get("count"); !count.empty()) {
    const auto wanted = number(count);
    if (!wanted || *wanted > 100'000) return wrong("count is a number up to 100000");
    store_.simulate_events(static_cast<std::uint32_t>(*wanted));
  }
  return {200, fmt::format("{{\"revision\":{}}}\n", store_.revision())};
}

ControlReply Control::command(std::size_t index, std::string_view action, const Query& query) {
  if (action == "drain") {
    DrainPlan plan;
    if (const std::string_view text = query.get("delay"); !text.empty()) {
      const auto delay = parse_duration(text);
      if (!delay) return wrong(delay.error().context);
      plan.delay = *delay;
    }
    if (const std::string_view text = query.get("timeout"); !text.empty()) {
      const auto timeout = parse_duration(text);
      if (!timeout) return wrong(timeout.error().context);
      plan.timeout = *timeout;
    }
    if (!query.get("retry-after").empty()) plan.retry_after = query.flag("retry-after");
    on_server(index, [&](ApiServer& server) {
      server.drain(plan);
      return std::string();
    });
  } else if (action == "kill") {
    on_server(index, [](ApiServer& server) {
      server.kill();
      return std::string();
    });
  } else if (action == "restart") {
    std::string error;
    for (int attempt = 0; attempt < 50; ++attempt) {
      error = on_server(index, [&](ApiServer& server) {
        const auto restarted = server.restart(query.get("history") == "empty");
        return restarted ? std::string() : restarted.error().context;
      });
      if (error != "the server is still stopping") break;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    if (!error.empty()) return wrong(error, 409);
  } else if (action == "freeze" || action == "thaw") {
    on_server(index, [&](ApiServer& server) {
      server.freeze(action == "freeze");
      return std::string();
    });
  } else if (action == "set") {
    const std::string error = on_server(index, [&](ApiServer& server) {
      Settings changed = server.settings();
      for (const auto& [name, value] : query.parameters) {
        const auto applied = apply_setting(changed, name, value);
        if (!applied) return applied.error().context;
      }
      server.settings() = changed;
      return std::string();
    });
    if (!error.empty()) return wrong(error);
  } else {
    return wrong("no such command", 404);
  }
  return {200, "{}\n"};
}

ControlReply Control::run(std::string_view method, std::string_view target) {
  const std::size_t question = target.find('?');
  const std::string_view path = target.substr(0, question);
  const Query query =
      Query::parse(question == std::string_view::npos ? "" : target.substr(question + 1));
  const bool post = method == "POST";

  if (!post && path == "/") {
    std::string out = "{\"settings\":[";
    for (const std::string& name : setting_names()) {
      out += fmt::format("{}\"{}\"", out.back() == '[' ? "" : ",", name);
    }
    return {200,
            out + "],\"commands\":[\"drain\",\"kill\",\"restart\",\"freeze\",\"thaw\",\"set\"]}\n"};
  }
  if (!post && path == "/counters") {
    return {200, fmt::format("{{\"revision\":{},\"servers\":{}}}\n", store_.revision(),
                             for_each([](ApiServer& server) { return server.counters_json(); }))};
  }
  if (!post && path == "/requests") {
    const std::size_t limit = number(query.get("limit")).value_or(100);
    const std::string_view containing = query.get("contains");
    const auto show = [&](ApiServer& server) { return server.requests_json(limit, containing); };
    if (const auto index = number(query.get("server"))) {
      if (*index >= servers_) return wrong("no such server", 404);
      return {200, on_server(*index, show) + "\n"};
    }
    return {200, for_each(show) + "\n"};
  }
  if (post && path == "/reset") {
    for_each([](ApiServer& server) {
      server.reset_counters();
      return std::string();
    });
    return {200, "{}\n"};
  }
  if (post && path == "/events") return events(query);
  constexpr std::string_view servers_prefix = "/servers/";
  if (post && path.starts_with(servers_prefix)) {
    const std::string_view rest = path.substr(servers_prefix.size());
    const std::size_t slash = rest.find('/');
    if (slash == std::string_view::npos) return wrong("which command?", 404);
    const std::string_view which = rest.substr(0, slash);
    const std::string_view action = rest.substr(slash + 1);
    if (which == "all") {
      ControlReply reply;
      for (std::size_t i = 0; i < servers_; ++i) {
        reply = command(i, action, query);
        if (reply.status != 200) break;
      }
      return reply;
    }
    const auto index = number(which);
    if (!index || *index >= servers_) return wrong("no such server", 404);
    return command(*index, action, query);
  }
  return wrong("no such path or method", 404);
}

}  // namespace sluice::apisim
