// SPDX-License-Identifier: GPL-3.0-or-later
// A backend that answers with any frames. It accepts TLS and reads HTTP/2 through the project's own
// layers, and answers what the proxy itself asks (readiness, who it is) as an API server would; the
// answer to a path that has a script is the script's bytes, sent as they are. Lives on the loop of
// the clients of one test.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http2_client.h"
#include "sluice/io/address.h"
#include "sluice/net/listener.h"

namespace sluice::test {

class FrameBackend {
 public:
  // Makes frames for a stream.
  using Script = std::function<std::string(std::uint32_t stream)>;

  // A scripted request, the last one of its path.
  struct Seen {
    std::uint64_t connection = 0;  // its number, from 1
    std::uint32_t stream = 0;
    http::RequestHead head;
    std::uint64_t body_bytes = 0;
    bool complete = false;
    bool reset = false;  // by the proxy
    http2::ErrorCode code = http2::ErrorCode::no_error;
  };

  // Client certificates are asked for.
  FrameBackend(ClientLoop& loop, const tls::ServerOptions& options);
  ~FrameBackend();
  FrameBackend(const FrameBackend&) = delete;
  FrameBackend& operator=(const FrameBackend&) = delete;

  const io::Address& address() const { return address_; }
  // `script` is asked when the head of a request with this path has arrived.
  void on(std::string path, Script script) { scripts_[std::move(path)] = std::move(script); }
  const Seen* seen(std::string_view path) const;
  // More frames for that request; false when its connection is gone.
  bool send(std::string_view path, const Script& script);
  // Bytes that were given to send() and wait for the proxy to take them.
  std::size_t unsent_bytes(std::string_view path) const;

 private:
  class Connection;
  Connection* connection_of(std::string_view path) const;
  void accepted(int descriptor);

  ClientLoop& loop_;
  std::shared_ptr<const tls::ServerContext> tls_;
  io::Address address_;
  net::AdmissionBudget budget_{1000};
  std::unique_ptr<net::Listener> listener_;
  std::uint64_t accepted_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<std::string, Script, std::less<>> scripts_;
  std::map<std::string, Seen, std::less<>> seen_;
};

}  // namespace sluice::test
