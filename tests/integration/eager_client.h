// SPDX-License-Identifier: GPL-3.0-or-later
// A client made of frames that says a lot before it has heard anything.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "http2_client.h"
#include "sluice/net/connection.h"

namespace sluice::test {

// Sends `first` in one write with its Finished, and `rest` as the body of stream 1 as it may.
class EagerClient final : public net::ConnectionHandler {
 public:
  EagerClient(ClientLoop& loop, const io::Address& address,
              std::shared_ptr<const tls::ClientContext> tls, std::string first,
              std::string rest = {})
      : connection_(loop.transport(), *this),
        loop_(loop),
        out_(std::move(first)),
        rest_(std::move(rest)) {
    connection_.connect(address, std::move(tls), api_server_name);
  }
  ~EagerClient() override {
    if (!closed) connection_.terminate();
    loop_.run_until([this] { return closed; });
  }

  std::size_t answered() const {
    return static_cast<std::size_t>(std::ranges::count_if(frames, [](const Frame& frame) {
      return (frame.type == frame::headers || frame.type == frame::data) &&
             frame.has(frame::end_stream);
    }));
  }
  bool over(std::size_t answers) const { return ended || answered() == answers; }

  bool ended = false;
  bool closed = false;
  std::vector<Frame> frames;

 private:
  void on_established() override { connection_.mark_dirty(); }
  void on_receive(Bytes plain) override {
    reader_.append(plain);
    for (Frame& frame : reader_.all()) {
      if (frame.type == frame::window_update && frame.id == 1) credit_ += frame.number(0);
      frames.push_back(std::move(frame));
    }
    while (credit_ > 0 && !rest_.empty()) {
      const std::size_t n = std::min({credit_, rest_.size(), std::size_t{16'384}});
      out_ += FrameWriter().data(1, rest_.substr(0, n), n == rest_.size()).text();
      rest_.erase(0, n);
      credit_ -= n;
    }
    connection_.mark_dirty();
  }
  std::size_t on_collect(MutableBytes batch) override {
    const std::size_t n = std::min(batch.size(), out_.size());
    std::copy_n(out_.data(), n, batch.begin());
    out_.erase(0, n);
    return n;
  }
  void on_end(const Error&) override { ended = true; }
  void on_closed() override { closed = true; }

  net::Connection connection_;
  ClientLoop& loop_;
  std::string out_;
  std::string rest_;
  FrameReader reader_;
  std::size_t credit_ = 0;
};

// A window for answers of which nothing is given back.
inline FrameWriter& begin_frames(FrameWriter& frames) {
  constexpr std::uint32_t window = 4 << 20;
  return frames.magic().settings({{frame::initial_window_size, window}}).window_update(0, window);
}

}  // namespace sluice::test
