// SPDX-License-Identifier: GPL-3.0-or-later
// A client that speaks HTTP/1.1 byte by byte, and reads answers strictly.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "harness.h"
#include "sluice/base/ascii.h"

namespace sluice::test {

struct Reply {
  int status = 0;  // 0: none came
  FieldList fields;
  std::string body;
  bool whole = false;  // by its own framing

  std::string field(std::string_view name) const {
    for (const auto& [field, value] : fields) {
      if (field == name) return value;
    }
    return {};
  }
  bool closes() const { return field("connection") == "close"; }
};

// One connection that speaks HTTP/1.1 byte by byte, and reads strictly.
class Http1 {
 public:
  Http1(const io::Address& address, const Certificate* certificate,
        std::vector<std::string> alpn = {"http/1.1"})
      : raw_(address, client_tls(certificate, nullptr, std::move(alpn))) {}

  RawClient& raw() { return raw_; }
  bool send(std::string_view text) { return raw_.send(text); }
  // What was received and is no answer's yet.
  std::string_view rest() const { return std::string_view(raw_.received()).substr(at_); }

  // The next answer; interim ones are counted.
  Reply read(bool head_only = false, Duration timeout = patience) {
    Reply reply;
    for (;;) {
      reply = {};
      std::size_t end = std::string_view::npos;
      raw_.read_until([&] { return (end = rest().find("\r\n\r\n")) != std::string_view::npos; },
                      timeout);
      if (end == std::string_view::npos) return reply;
      read_head(rest().substr(0, end + 2), reply);
      at_ += end + 4;
      if (reply.status >= 200) break;
      interim.push_back(reply.status);
    }
    if (head_only || reply.status == 204 || reply.status == 304) {
      reply.whole = true;
    } else if (reply.field("transfer-encoding") == "chunked") {
      while (read_chunk(reply, timeout)) continue;
    } else if (const std::string length = reply.field("content-length"); !length.empty()) {
      const std::size_t bytes = std::strtoull(length.c_str(), nullptr, 10);
      reply.whole = raw_.read_until([&] { return rest().size() >= bytes; }, timeout);
      reply.body = rest().substr(0, bytes);
      at_ += reply.body.size();
    } else {
      reply.whole = raw_.wait_end(timeout) && raw_.end() == RawClient::End::close_notify;
      reply.body = rest();
      at_ += reply.body.size();
    }
    return reply;
  }
  // The next chunk of an answer that was begun; false at its end, and when there is none.
  bool read_chunk(Reply& reply, Duration timeout = patience) {
    std::size_t line = std::string_view::npos;
    raw_.read_until([&] { return (line = rest().find("\r\n")) != std::string_view::npos; },
                    timeout);
    if (line == std::string_view::npos) return false;
    const std::size_t size =
        std::strtoull(std::string(rest().substr(0, line)).c_str(), nullptr, 16);
    if (!raw_.read_until([&] { return rest().size() >= line + 2 + size + 2; }, timeout)) {
      return false;
    }
    EXPECT_EQ(rest().substr(line + 2 + size, 2), "\r\n");
    reply.body += rest().substr(line + 2, size);
    at_ += line + 2 + size + 2;
    reply.whole = size == 0;
    return size > 0;
  }
  // A head alone, for answers that take their time.
  Reply read_head_only() {
    Reply reply;
    std::size_t end = 0;
    if (!raw_.read_until([&] { return (end = rest().find("\r\n\r\n")) != std::string_view::npos; },
                         patience)) {
      return reply;
    }
    read_head(rest().substr(0, end + 2), reply);
    at_ += end + 4;
    return reply;
  }
  Reply ask(std::string_view text, bool head_only = false) {
    EXPECT_TRUE(send(text));
    return read(head_only);
  }
  Reply get(std::string_view path, std::string_view fields = "") {
    return ask(fmt::format("GET {} HTTP/1.1\r\nHost: kubernetes\r\n{}\r\n", path, fields));
  }
  bool ends() { return raw_.wait_end(); }

  std::vector<int> interim;

 private:
  static void read_head(std::string_view text, Reply& reply) {
    EXPECT_TRUE(text.starts_with("HTTP/1.1 ")) << text;
    reply.status = std::atoi(std::string(text.substr(9, 3)).c_str());
    text.remove_prefix(text.find("\r\n") + 2);
    while (!text.empty()) {
      const std::size_t end = text.find("\r\n");
      const std::string_view line = text.substr(0, end);
      const std::size_t colon = line.find(": ");
      EXPECT_NE(colon, std::string_view::npos) << line;
      if (colon == std::string_view::npos) return;
      reply.fields.emplace_back(ascii::lowered(line.substr(0, colon)), line.substr(colon + 2));
      text.remove_prefix(end + 2);
    }
  }

  RawClient raw_;
  std::size_t at_ = 0;
};

}  // namespace sluice::test
