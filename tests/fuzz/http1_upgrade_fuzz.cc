// SPDX-License-Identifier: GPL-3.0-or-later
// What a backend answers to a request that asks for a tunnel, against any bytes: fed whole and cut
// everywhere, the same happens. The first byte of the input chooses limits and the request; the
// second, where the connection ends and how; the rest is what the backend sends. Beyond that:
// nothing goes out before a 101 to the protocol that was asked for, and nothing comes in behind any
// other answer.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/http1/upgrade.h"

namespace {

using namespace sluice;
using namespace sluice::http1;

constexpr std::string_view early = "early";

class Owner final : public UpgradeHandler {
 public:
  Owner(const UpgradeOptions& options, bool head_request) : upgrade(*this, options) {
    http::RequestHead head;
    head.method = head_request ? "HEAD" : "POST";
    head.authority = "kubernetes";
    head.path = "/exec";
    head.protocol = "SPDY/3.1";
    CHECK(upgrade.begin(head, false));
    collect();
    CHECK(upgrade.output() == Upgrade::Output::held);
  }

  void on_interim(http::ResponseHead&& head) override {
    CHECK(!answered_ && head.status >= 100 && head.status < 200 && head.status != 101);
    note("interim", head);
  }
  void on_answer(http::ResponseHead&& head, bool end) override {
    CHECK(!answered_);
    answered_ = true;
    over_ = end;
    tunnel_ = head.status == 101;
    CHECK(tunnel_ ? !end : head.status >= 200);
    CHECK((upgrade.output() == Upgrade::Output::tunnel) == tunnel_);
    note(end ? "whole" : "answer", head);
  }
  void on_data(Bytes bytes) override {
    CHECK(answered_ && !over_ && !bytes.empty());
    events += as_text(bytes);
  }
  void on_end(bool in_order) override {
    CHECK(answered_ && !over_);
    over_ = true;
    events += in_order ? "\nend\n" : "\ncut\n";
    CHECK(in_order || tunnel_);
  }
  http::BodyResult on_body_wanted(MutableBytes room) override {
    CHECK(tunnel_);
    const std::size_t n = std::min(room.size(), early.size() - sent_);
    std::memcpy(room.data(), early.data() + sent_, n);
    sent_ += n;
    return {n, http::BodyStatus::more};
  }

  std::string collect() {
    std::string out;
    std::vector<std::uint8_t> batch(16384);
    while (const std::size_t n = upgrade.collect(batch)) out += as_text(Bytes(batch).first(n));
    return out;
  }
  bool tunnel() const { return tunnel_; }

  Upgrade upgrade;
  std::string events;

 private:
  void note(std::string_view what, const http::ResponseHead& head) {
    events += what;
    events += std::to_string(head.status);
    events += '\n';
    for (std::size_t i = 0; i < head.fields.size(); ++i) {
      const http::Field field = head.fields[i];
      CHECK(!field.name.empty());
      CHECK(std::ranges::none_of(field.name, [](char c) { return c >= 'A' && c <= 'Z'; }));
      CHECK(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
      events += std::string(field.name) + '=' + std::string(field.value) + '\n';
    }
  }

  bool answered_ = false;
  bool over_ = false;
  bool tunnel_ = false;
  std::size_t sent_ = 0;
};

std::string talk(Bytes input, const UpgradeOptions& options, std::uint8_t shape, std::uint8_t end,
                 std::size_t step) {
  Owner owner(options, (shape & 1) != 0);
  owner.upgrade.resume_body();
  bool broken = false;
  std::string sent;
  for (std::size_t at = 0; at < input.size() && !broken; at += step) {
    broken = !owner.upgrade.feed(input.subspan(at, std::min(step, input.size() - at)));
    owner.upgrade.resume_body();
    sent += owner.collect();
  }
  if (!broken && (end & 1) != 0) broken = !owner.upgrade.peer_ended((end & 2) != 0);
  owner.upgrade.resume_body();
  sent += owner.collect();
  CHECK(sent == (owner.tunnel() ? early : ""));
  return owner.events + (broken ? "broken" : "") + (owner.upgrade.over() ? "over" : "");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Bytes input(data + 2, size - 2);
  UpgradeOptions options;
  // Small limits, so that a short input can break them.
  if ((data[0] & 2) != 0) options = {.header_fields_max = 4, .header_list_bytes_max = 200};
  const std::size_t whole_step = std::max<std::size_t>(input.size(), 1);
  const std::string whole = talk(input, options, data[0], data[1], whole_step);
  CHECK(whole == talk(input, options, data[0], data[1], 1));
  CHECK(whole == talk(input, options, data[0], data[1], 3));
  return 0;
}
