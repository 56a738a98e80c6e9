// SPDX-License-Identifier: GPL-3.0-or-later
// What an exchange needs of the connection of its client. Implemented where client connections are.
#pragma once

#include <optional>
#include <string>

#include "sluice/base/error.h"
#include "sluice/http/message.h"
#include "sluice/http2/session.h"
#include "sluice/kubernetes/identity.h"

namespace sluice::proxy {

// Who the client is, as far as its connection tells. Lives as long as the connection.
struct ClientFacts {
  std::string address;  // IP address, without port
  std::string peer;     // address and port, for the log
  // Set when the certificate gives an identity; `why_not` says otherwise why there is none.
  std::optional<kubernetes::Identity> identity;
  kubernetes::NoIdentity why_not = kubernetes::NoIdentity::no_certificate;
  WallTime identity_not_after{};  // earliest end of validity in the chain
};

class ClientSide {
 public:
  virtual ~ClientSide() = default;
  virtual const ClientFacts& facts() const = 0;
  virtual void send_interim(http2::StreamId, const http::ResponseHead& head) = 0;
  virtual void send_response(http2::StreamId, const http::ResponseHead& head, bool has_body) = 0;
  // The exchange has body bytes, or the end of the body, for its stream.
  virtual void resume_body(http2::StreamId) = 0;
  virtual void consume(http2::StreamId, std::size_t bytes) = 0;
  // Lets the client be up to `bytes` ahead of us on this stream.
  virtual void grow_window(http2::StreamId, std::uint32_t bytes) = 0;
  virtual void reset(http2::StreamId, http2::ErrorCode) = 0;
  virtual void set_urgent(http2::StreamId) = 0;
};

}  // namespace sluice::proxy
