// SPDX-License-Identifier: GPL-3.0-or-later
// What an exchange needs of the connection of its client, whichever HTTP it speaks. Implemented
// where client connections are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sluice/base/time.h"
#include "sluice/http/message.h"
#include "sluice/kubernetes/identity.h"
#include "sluice/proxy/client_account.h"
#include "sluice/proxy/client_keys.h"
#include "sluice/proxy/last_token.h"
#include "sluice/proxy/resource_memory.h"

namespace sluice::proxy {

// Who the client is, as far as its connection tells. Lives as long as the connection.
struct ClientFacts {
  std::string address;        // IP address, without port
  std::string peer;           // address and port, for the log
  std::string_view protocol;  // which HTTP it speaks, for the log
  ClientKeys keys;            // Proxy::keys()
  // Set when the certificate gives an identity; `why_not` says otherwise why there is none.
  std::optional<kubernetes::Identity> identity;
  // The authorities have changed, and it is not believed any more; it stays for whoever began with
  // it.
  bool identity_withdrawn = false;
  bool anonymous = false;  // the identity is that of somebody whom API servers do not know
  kubernetes::NoIdentity why_not = kubernetes::NoIdentity::no_certificate;
  // Why every request is answered with 401, whatever it brings along: an API server would see a
  // user in the certificate that we do not carry. Empty: it would not.
  std::string refusal;
  WallTime identity_not_after{};  // earliest end of validity in the chain
  bool proven = false;            // it is somebody, by its certificate or by a token
  bool exempt = false;            // what it asks is not counted
};

// Names one request among those of its client's connection, which alone knows what it means.
enum class ClientStream : std::int64_t {};

// Why an answer ends before it is whole. The client must see that it is not.
enum class Cut : std::uint8_t {
  truncated,  // the rest cannot be had
  stalled,    // the client does not take it
};

class ClientSide {
 public:
  virtual ~ClientSide() = default;
  virtual const ClientFacts& facts() const = 0;
  virtual void send_interim(ClientStream, const http::ResponseHead& head) = 0;
  // Of 101 only where the request's head names a protocol: what follows is a tunnel.
  virtual void send_response(ClientStream, const http::ResponseHead& head, bool has_body) = 0;
  // The answer has no end of its own: its client may take it as slowly as it likes.
  virtual void be_patient(ClientStream) {}
  // The exchange has body bytes, or the end of the body, for its stream.
  virtual void resume_body(ClientStream) = 0;
  // So many bytes of the upload have left for the other side, or are of no use: the client may send
  // as many more.
  virtual void credit(ClientStream, std::size_t bytes) = 0;
  // Lets the client be up to `bytes` ahead of us on this stream.
  virtual void grow_window(ClientStream, std::uint32_t bytes) = 0;
  virtual void cut(ClientStream, Cut) = 0;
  // Behind a complete answer: the rest of the upload is not wanted.
  virtual void stop_upload(ClientStream) = 0;

  // A request of it comes with a proven identity.
  void prove() {
    if (!facts().proven) on_proven();
  }

  LastToken& last_token() { return last_token_; }
  // Of the client of its last request.
  LastAccount& last_account() { return last_account_; }
  ResourceMemory& resources() { return resources_; }

 protected:
  virtual void on_proven() = 0;  // from now on its facts say so

 private:
  LastAccount last_account_;
  ResourceMemory resources_;
  LastToken last_token_;
};

}  // namespace sluice::proxy
