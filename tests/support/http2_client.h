// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2 clients for tests on real sockets. Http2Client is a well-behaved one with many streams,
// made of the project's own layers: calls look blocking, a ClientLoop turns underneath. RawClient
// is one connection on a blocking socket that sends any bytes (support/frames.h) and reads only
// when told to. Both record how everything ended.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frames.h"
#include "sluice/http2/session.h"
#include "sluice/io/reactor.h"
#include "sluice/net/connection.h"
#include "sluice/tls/context.h"

namespace sluice::test {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// A wait that takes this long has failed; nothing is meant to take as long.
constexpr Duration patience = std::chrono::seconds(30);

// Of the API servers, and of the proxy before them: what certificates carry in these tests.
inline constexpr std::string_view api_server_name = "kubernetes.default.svc.cluster.local";

// The reactor under the clients of one test. Must outlive them.
class ClientLoop {
 public:
  ClientLoop();
  ~ClientLoop();

  // Turns until `done`; false when that did not happen in time.
  bool run_until(const std::function<bool()>& done, Duration timeout = patience);
  void run_for(Duration duration);

  net::Transport& transport() { return *transport_; }
  Instant now() const { return reactor_->now(); }

 private:
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<net::Transport> transport_;
};

using FieldList = std::vector<std::pair<std::string, std::string>>;

struct Ask {
  std::string method = "GET";
  std::string path = "/version";
  FieldList fields = {};
  std::string body = {};
  FieldList trailers = {};
  bool reads = true;  // false: the stream's window is never opened again
  std::string authority = "kubernetes";
};

enum class Ending : std::uint8_t {
  open,
  end_stream,  // the answer is whole
  reset,       // RST_STREAM by the peer; see `code`
  own_reset,
  refused_by_goaway,  // above the last stream of a GOAWAY
  never_sent,         // a GOAWAY came before it had left
  connection_closed,  // FIN or close_notify under the stream
  connection_reset,   // TCP reset under the stream
};
std::string_view to_string(Ending ending);

struct Answer {
  int status = 0;
  std::multimap<std::string, std::string> fields;
  std::string body;         // the first `body_bytes_kept` bytes
  std::uint64_t bytes = 0;  // of the body
  Ending ending = Ending::open;
  http2::ErrorCode code = http2::ErrorCode::no_error;
  bool over = false;            // the stream is closed, or its connection
  bool upload_stopped = false;  // RST_STREAM(NO_ERROR) after a whole answer
  Clock::time_point asked{}, head_at{}, last_byte_at{}, ended_at{};

  bool whole() const { return ending == Ending::end_stream; }
  std::string field(std::string_view name) const;
  std::string describe() const;
};

struct ClientOptions {
  std::uint32_t stream_window_bytes = 64 * 1024;
  std::uint32_t connection_window_bytes = 64 * 1024 * 1024;
  std::size_t body_bytes_kept = 1024 * 1024;
};

class Http2Client final : public net::ConnectionHandler, public http2::SessionHandler {
 public:
  using Id = http2::StreamId;

  // Connects and returns when the connection has been established (with the peer's SETTINGS) or has
  // ended.
  Http2Client(ClientLoop& loop, const io::Address& address,
              std::shared_ptr<const tls::ClientContext> tls, const ClientOptions& options = {});
  ~Http2Client() override;

  bool ready() const { return ready_ && !ended_; }
  Id ask(const Ask& ask);
  bool can_ask() const { return ready() && session_->can_open_stream(); }
  // Waits for the end of the stream, or for its head alone.
  const Answer& wait(Id id, Duration timeout = patience);
  const Answer& wait_head(Id id, Duration timeout = patience);
  const Answer& fetch(const Ask& ask, Duration timeout = patience) {
    return wait(this->ask(ask), timeout);
  }
  const Answer& answer(Id id) const { return answers_.at(id); }
  void forget(Id id) { answers_.erase(id); }
  // How much of its body has left, while the stream is open.
  std::size_t uploaded(Id id) const { return outgoing_.at(id).sent; }
  // From now on this stream is read.
  void read(Id id);
  void reset(Id id, http2::ErrorCode code = http2::ErrorCode::cancel);

  // Asks for a sign of life so often, when the last has been answered; and how long each answer
  // took.
  void start_pings(Duration interval);
  std::vector<Duration> stop_pings();

  // Streams that are over since the last call.
  std::vector<Id> take_over() { return std::exchange(over_, {}); }

  bool ended() const { return ended_; }  // the connection
  const Error& end() const { return end_; }
  const std::vector<std::pair<Id, http2::ErrorCode>>& goaways() const { return goaways_; }
  void terminate();
  ClientLoop& loop() { return loop_; }

 private:
  struct Outgoing {
    std::string body;
    std::size_t sent = 0;
    http::Fields trailers;
    bool reads = true;
    std::uint64_t owed = 0;  // credit that is held back
  };

  void on_established() override;
  void on_receive(Bytes plain) override;
  std::size_t on_collect(MutableBytes batch) override;
  void on_end(const Error& error) override;
  void on_closed() override { closed_ = true; }

  void on_response(http2::StreamRef, http::ResponseHead&& head, bool) override;
  void on_data(http2::StreamRef, Bytes data) override;
  void on_end_of_stream(http2::StreamRef) override;
  void on_stream_closed(http2::StreamRef, http2::ErrorCode code, bool by_peer) override;
  http2::BodyResult on_body_wanted(http2::StreamRef, MutableBytes room) override;
  const http::Fields* on_trailers_wanted(http2::StreamRef) override;
  void on_goaway(Id last, http2::ErrorCode code) override { goaways_.emplace_back(last, code); }
  void on_settings() override { ready_ = true; }
  void on_ping_answer(std::uint64_t) override;
  void ping();
  void on_output_ready() override;

  void close_all(Ending ending);
  void finish(Id id, Answer& answer, Ending ending, http2::ErrorCode code);
  Answer* find(Id id);

  ClientLoop& loop_;
  ClientOptions options_;
  net::Connection connection_;
  std::unique_ptr<http2::Session> session_;
  std::map<Id, Answer> answers_;
  std::map<Id, Outgoing> outgoing_;
  std::vector<Id> over_;
  std::vector<std::pair<Id, http2::ErrorCode>> goaways_;
  Error end_;
  bool ready_ = false;
  bool ended_ = false;
  bool closed_ = false;
  io::Timer pings_;
  Duration ping_interval_{};
  Clock::time_point pinged_at_{};
  std::vector<Duration> ping_times_;
};

// Sends requests number 0 to `count`-1 over `clients` in turn, so many at once in all; `check` sees
// each answer. Returns early when all connections have ended.
struct Load {
  std::size_t count = 0;
  std::size_t at_once = 1;
  std::function<Ask(std::size_t number)> ask;
  std::function<void(std::size_t number, const Answer& answer)> check;
  // Which client; by default in turn.
  std::function<std::size_t(std::size_t number)> client = {};
};
// The number of answers that were seen.
std::size_t run(const std::vector<Http2Client*>& clients, const Load& load,
                Duration timeout = patience * 4);

// --- raw -------------------------------------------------------------------------------------

class RawClient {
 public:
  enum class End : std::uint8_t {
    open,
    close_notify,
    fin,
    reset,
    alert,
  };

  // Without `tls`: plain TCP. The handshake is made at once unless `handshake` is false. `source`:
  // the address that it comes from, for example 127.0.0.2.
  RawClient(const io::Address& address, std::shared_ptr<const tls::ClientContext> tls,
            bool handshake = true, std::string_view source = {});
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return descriptor_ >= 0; }
  bool established() const;
  std::string alpn() const;
  // From now on nothing arrives here, and so nothing is acknowledged: to the peer the machine is
  // gone (SO_ATTACH_FILTER).
  void vanish();
  void bound_receive_buffer(int bytes);
  // Sends all; false when the peer does not take it in time, or has ended. With `reads`, what
  // arrives meanwhile is taken in.
  bool send(std::string_view bytes, Duration timeout = std::chrono::seconds(10), bool reads = true);
  // Ends our direction: by a close_notify and FIN, or by FIN alone. What comes is still read; and
  // from here on the peer's end of its direction does not keep us from sending.
  void end_output(bool in_order = true);
  void go_on_behind_close_notify() { half_open_ = true; }
  void reset();  // TCP RST
  // Bytes as they are on the wire, past TLS.
  bool send_wire(std::string_view bytes);
  // Reads until `done`, the end of the connection, or the timeout; true when `done`.
  bool read_until(const std::function<bool()>& done, Duration timeout = std::chrono::seconds(10));
  bool wait_end(Duration timeout = std::chrono::seconds(10)) {
    read_until([] { return false; }, timeout);
    return end_ != End::open;
  }
  End end() const { return end_; }
  // What was received: frames once begin_http2() was called, else bytes.
  const std::vector<Frame>& frames() const { return frames_; }
  const std::string& received() const { return received_; }
  std::size_t count(std::uint8_t type) const;
  const Frame* find(std::uint8_t type) const;

  // Preface, SETTINGS (the given ones), waits for the peer's, acknowledges.
  bool begin_http2(std::initializer_list<std::pair<frame::Setting, std::uint32_t>> settings = {});

 private:
  bool may_send() const { return end_ == End::open || (half_open_ && end_ == End::close_notify); }
  void take_input(Duration timeout);
  void process(Bytes bytes);
  void process_tls();
  bool flush_pending();
  bool write_all(std::string_view bytes, Duration timeout, bool reads);

  int descriptor_ = -1;
  std::unique_ptr<tls::Engine> engine_;
  bool http2_ = false;
  bool half_open_ = false;
  End end_ = End::open;
  std::string received_;
  FrameReader reader_;
  std::vector<Frame> frames_;
};

}  // namespace sluice::test
