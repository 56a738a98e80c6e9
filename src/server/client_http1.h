// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/1.1 on a client's connection: upgrades (exec, attach, port-forward) and clients without
// HTTP/2 get a sentence instead of a closed connection.
#pragma once

#include <string>

#include "client_metrics.h"
#include "client_protocol.h"

namespace sluice::server {

class ClientHttp1 final : public ClientProtocol {
 public:
  ClientHttp1(metrics::Cells& cells, const ClientMetrics& metrics, Instant now)
      : cells_(cells), metrics_(metrics), since_(now) {}

  Result<void> receive(Bytes plain, Instant now) override;
  std::size_t collect(MutableBytes batch) override;
  bool wants_output() const override { return !answer_.empty(); }
  bool finished() const override { return answered_; }
  void describe(Outline& outline) const override;
  std::size_t held_bytes() const override { return answer_.size(); }
  std::size_t requests() const override { return 0; }
  std::optional<Instant> head_since() const override { return since_; }
  bool announce_end() override { return false; }
  void say_last_word(std::string_view) override {}
  void plan_ends(const proxy::EndWindow&) override {}
  void abandon() override {}
  bool broken() const override { return false; }
  std::string_view give_up() override { return {}; }

 private:
  metrics::Cells& cells_;
  const ClientMetrics& metrics_;
  const Instant since_;
  bool answered_ = false;
  std::string answer_;  // as far as it is not collected
};

}  // namespace sluice::server
