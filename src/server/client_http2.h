// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2 on a client's connection: one exchange per stream.
#pragma once

#include <vector>

#include "client_metrics.h"
#include "client_protocol.h"
#include "sluice/http2/session.h"
#include "sluice/proxy/proxy.h"

namespace sluice::server {

class ClientHttp2 final : public ClientProtocol,
                          private http2::SessionHandler,
                          private proxy::ClientSide {
 public:
  // All outlive this.
  ClientHttp2(ClientProtocolOwner& owner, proxy::Proxy& proxy, const proxy::ClientFacts& facts,
              const http2::SessionOptions& options, metrics::Cells& cells,
              const ClientMetrics& metrics, Instant now);

  Result<void> receive(Bytes plain, Instant now) override;
  bool wants_input() const override { return session_.wants_input(); }
  std::size_t collect(MutableBytes batch) override { return session_.collect(batch); }
  bool wants_output() const override { return session_.wants_output(); }
  bool finished() const override { return session_.finished(); }
  bool must_not_close_cleanly() const override { return false; }
  void describe(Outline& outline) const override;
  std::size_t held_bytes() const override { return session_.held_bytes(); }
  std::size_t requests() const override { return requests_; }
  std::optional<Instant> head_since() const override { return head_since_; }
  bool announce_end() override {
    session_.goaway_notice();
    return true;
  }
  void say_last_word(std::string_view refusal) override;
  void plan_ends(const proxy::EndWindow& window) override;
  void abandon() override;
  bool broken() const override { return session_.abuse() != http2::AbuseKind::none; }
  std::string_view give_up() override;
  void ask_for_sign() override;

 private:
  // http2::SessionHandler
  void on_request(http2::StreamRef, http::RequestHead&&, bool end_of_stream) override;
  void on_head_too_large(http2::StreamRef, http::RequestHead&& line) override;
  void on_malformed(http2::StreamRef, http::RequestHead&& head, std::string_view why) override;
  void on_data(http2::StreamRef, Bytes) override;
  void on_end_of_stream(http2::StreamRef) override;
  void on_stream_closed(http2::StreamRef, http2::ErrorCode, bool by_peer) override;
  http::BodyResult on_body_wanted(http2::StreamRef, MutableBytes room) override;
  const http::Fields* on_trailers_wanted(http2::StreamRef) override;
  void on_ping_answer(std::uint64_t) override { asked_ = false; }
  void on_output_ready() override { owner_.output_ready(); }

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

  void add(http2::StreamRef ref, SlotId exchange);
  void reset(proxy::ClientStream, http2::ErrorCode);
  void watch_head(Instant now);

  ClientProtocolOwner& owner_;
  proxy::Proxy& proxy_;
  const proxy::ClientFacts& facts_;
  metrics::Cells& cells_;
  const ClientMetrics& metrics_;
  http2::Session session_;
  std::size_t requests_ = 0;
  bool asked_ = false;  // a PING of ours was not answered yet
  std::optional<Instant> head_since_;
  std::uint64_t head_number_ = 0;  // the head that it is about; 0: preface and SETTINGS
};

}  // namespace sluice::server
