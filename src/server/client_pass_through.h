// SPDX-License-Identifier: GPL-3.0-or-later
// A client's connection that is passed on untouched: what the client says goes to a target as it
// is, and back. In the place of an HTTP.
#pragma once

#include <string>

#include "client_protocol.h"
#include "outline.h"
#include "pass_through.h"

namespace sluice::server {

class ClientPassThrough final : public ClientProtocol, private PassedClient {
 public:
  // `targets` outlive it.
  ClientPassThrough(ClientProtocolOwner& owner, PassThrough& targets, PassedFacts facts);
  ~ClientPassThrough() override;  // CHECKs that it was abandoned

  Result<void> receive(Bytes bytes, Instant now) override;
  bool wants_input() const override { return passed_ == nullptr || passed_->wants_more(); }
  std::size_t collect(MutableBytes room) override;
  bool wants_output() const override { return passed_ != nullptr && passed_->has_output(); }
  bool peer_ended(bool in_order) override;
  std::optional<bool> output_ended() const override;
  bool finished() const override { return passed_ == nullptr || passed_->finished(); }
  bool must_not_close_cleanly() const override { return false; }

  void describe(Outline& outline) const override;
  std::size_t held_bytes() const override { return passed_ == nullptr ? 0 : passed_->held_bytes(); }
  // Whatever it asks: something.
  std::size_t requests() const override { return passed_ == nullptr ? 0 : 1; }
  std::optional<Instant> head_since() const override { return std::nullopt; }
  // There is nothing that could be said about an end but the end.
  bool announce_end() override { return false; }
  void say_last_word(std::string_view) override {}
  void plan_ends(const proxy::EndWindow&) override {}
  bool tunnels() const override { return !finished(); }
  void abandon() override;
  bool broken() const override { return false; }
  std::string_view give_up() override { return {}; }

 private:
  void passed_output() override { owner_.output_ready(); }
  void passed_room() override { owner_.input_due(); }

  ClientProtocolOwner& owner_;
  PassedConnection* passed_ = nullptr;  // null: abandoned
};

}  // namespace sluice::server
