// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/1.1 on a client's connection: one exchange at a time.
#pragma once

#include "client_metrics.h"
#include "client_protocol.h"
#include "sluice/http1/session.h"
#include "sluice/http2/session.h"
#include "sluice/proxy/proxy.h"

namespace sluice::server {

class ClientHttp1 final : public ClientProtocol,
                          private http1::SessionHandler,
                          private proxy::ClientSide {
 public:
  // All outlive this. The limits of heads and the first window are those of HTTP/2.
  ClientHttp1(ClientProtocolOwner& owner, proxy::Proxy& proxy, const proxy::ClientFacts& facts,
              const http2::SessionOptions& limits, metrics::Cells& cells,
              const ClientMetrics& metrics, Instant now);

  Result<void> receive(Bytes plain, Instant now) override;
  bool wants_input() const override { return session_.wants_input(); }
  std::size_t collect(MutableBytes batch) override;
  bool wants_output() const override { return session_.wants_output(); }
  bool peer_ended(bool in_order) override { return session_.peer_ended(in_order); }
  std::optional<bool> output_ended() const override { return session_.output_ended(); }
  bool finished() const override { return session_.finished(); }
  bool must_not_close_cleanly() const override { return session_.must_not_close_cleanly(); }
  void describe(Outline& outline) const override;
  std::size_t held_bytes() const override { return session_.held_bytes(); }
  std::size_t requests() const override { return open_ ? 1 : 0; }
  std::optional<Instant> head_since() const override { return head_since_; }
  bool announce_end() override {
    session_.announce_end();
    return true;
  }
  void say_last_word(std::string_view) override { session_.stop(); }
  void plan_ends(const proxy::EndWindow& window) override;
  bool tunnels() const override { return open_ && switched_; }
  void abandon() override;
  // What breaks a rule is answered, and ends the connection in order.
  bool broken() const override { return false; }
  std::string_view give_up() override { return {}; }

 private:
  // http1::SessionHandler
  void on_request(const http1::Request& request, http::RequestHead&& head) override;
  void on_head_too_large(http1::RequestId id, http::RequestHead&& head) override;
  void on_malformed(http1::RequestId id, http::RequestHead&& head, http1::Refusal why) override;
  void on_data(http1::RequestId id, Bytes bytes) override;
  void on_end_of_stream(http1::RequestId id) override;
  void on_tunnel_ended(http1::RequestId id, bool in_order) override;
  void on_closed(http1::RequestId id, bool whole) override;
  http::BodyResult on_body_wanted(http1::RequestId id, MutableBytes room) override;

  // proxy::ClientSide
  const proxy::ClientFacts& facts() const override { return facts_; }
  void send_interim(proxy::ClientStream, const http::ResponseHead& head) override;
  void send_response(proxy::ClientStream, const http::ResponseHead& head, bool has_body) override;
  void be_patient(proxy::ClientStream) override { owner_.be_patient(); }
  void resume_body(proxy::ClientStream) override;
  void credit(proxy::ClientStream, std::size_t bytes) override;
  void grow_window(proxy::ClientStream, std::uint32_t bytes) override;
  void cut(proxy::ClientStream, proxy::Cut) override;
  void stop_upload(proxy::ClientStream) override;
  void on_proven() override { owner_.proven(); }

  void begin(SlotId exchange);
  void watch_head(Instant now);
  void go_on();

  ClientProtocolOwner& owner_;
  proxy::Proxy& proxy_;
  const proxy::ClientFacts& facts_;
  metrics::Cells& cells_;
  const ClientMetrics& metrics_;
  http1::Session session_;
  bool open_ = false;  // there is a request
  bool switched_ = false;
  SlotId exchange_;  // its
  std::optional<Instant> head_since_;
  http1::RequestId head_number_ = 1;  // the request that it is about
};

}  // namespace sluice::server
