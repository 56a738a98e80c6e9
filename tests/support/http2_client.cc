// SPDX-License-Identifier: GPL-3.0-or-later
// Clients for tests.
#include "http2_client.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "sluice/base/check.h"
#include "sluice/tls/engine.h"
#include "tls_record.h"

namespace sluice::test {

std::string_view to_string(Ending ending) {
  switch (ending) {
    case Ending::open: return "open";
    case Ending::end_stream: return "END_STREAM";
    case Ending::reset: return "RST_STREAM";
    case Ending::own_reset: return "own RST_STREAM";
    case Ending::refused_by_goaway: return "refused by GOAWAY";
    case Ending::never_sent: return "never sent";
    case Ending::connection_closed: return "connection closed";
    case Ending::connection_reset: return "connection reset";
  }
  return "unknown";
}

std::string Answer::field(std::string_view name) const {
  const auto found = fields.find(std::string(name));
  return found == fields.end() ? std::string() : found->second;
}

std::string Answer::describe() const {
  return "status " + std::to_string(status) + ", " + std::string(to_string(ending)) + ", code " +
         std::to_string(static_cast<int>(code)) + ", " + std::to_string(bytes) +
         " bytes: " + body.substr(0, 300);
}

// --- loop ------------------------------------------------------------------------------------

ClientLoop::ClientLoop() {
  // Once for the process; again is harmless.
  CHECK(tls::initialize().has_value());
  auto reactor = io::Reactor::create({});
  if (!reactor) {
    std::fprintf(stderr, "io_uring: %s\n", reactor.error().context.c_str());
    std::abort();
  }
  reactor_ = std::move(*reactor);
  net::TransportOptions options;
  options.send_stall_timeout = std::chrono::minutes(10);
  options.close_linger = std::chrono::milliseconds(200);
  transport_ = std::make_unique<net::Transport>(*reactor_, options);
}

ClientLoop::~ClientLoop() {
  run_until([this] { return transport_->connections() == 0; });
  transport_.reset();
  reactor_.reset();
}

bool ClientLoop::run_until(const std::function<bool()>& done, Duration timeout) {
  const Clock::time_point end = Clock::now() + timeout;
  io::Timer wake(nullptr, [](void*) {});
  while (!done()) {
    if (Clock::now() >= end) return false;
    reactor_->timers().set(wake, reactor_->now(), 20ms);
    reactor_->turn();
  }
  return true;
}

void ClientLoop::run_for(Duration duration) {
  run_until([] { return false; }, duration);
}

// --- client ----------------------------------------------------------------------------------

Http2Client::Http2Client(ClientLoop& loop, const io::Address& address,
                         std::shared_ptr<const tls::ClientContext> tls,
                         const ClientOptions& options)
    : loop_(loop),
      options_(options),
      connection_(loop.transport(), *this),
      pings_(io::Timer::bind<&Http2Client::ping>(this)) {
  connection_.connect(address, std::move(tls), api_server_name);
  loop_.run_until([this] { return ready_ || ended_; });
}

Http2Client::~Http2Client() {
  terminate();
  CHECK(loop_.run_until([this] { return closed_; }));
}

void Http2Client::start_pings(Duration interval) {
  ping_interval_ = interval;
  ping();
}

std::vector<Duration> Http2Client::stop_pings() {
  ping_interval_ = {};
  pings_.cancel();
  return std::exchange(ping_times_, {});
}

void Http2Client::ping() {
  pinged_at_ = Clock::now();
  session_->ping(0);
}

void Http2Client::on_ping_answer(std::uint64_t) {
  if (ping_interval_ == Duration::zero()) return;
  ping_times_.push_back(Clock::now() - pinged_at_);
  loop_.transport().reactor().timers().set(pings_, loop_.now(), ping_interval_);
}

void Http2Client::terminate() {
  if (closed_) return;
  if (!ended_) {
    ended_ = true;
    close_all(Ending::own_reset);
  }
  connection_.terminate();
}

Http2Client::Id Http2Client::ask(const Ask& ask) {
  http::RequestHead head;
  head.method = ask.method;
  head.scheme = "https";
  head.authority = ask.authority;
  head.path = ask.path;
  for (const auto& [name, value] : ask.fields) head.fields.add(name, value);
  const bool has_body = !ask.body.empty() || !ask.trailers.empty();
  const auto id = ended_ || session_ == nullptr
                      ? Result<Id>(fail(ErrorKind::closed, "the connection has ended"))
                      : session_->submit_request(head, has_body, 0);
  static Id refused = -1;
  Answer answer;
  answer.asked = Clock::now();
  if (!id) {
    answer.over = true;
    answer.ending = Ending::connection_closed;
    answer.body = id.error().context;
    answers_[--refused] = answer;
    over_.push_back(refused);
    return refused;
  }
  answers_[*id] = answer;
  Outgoing& outgoing = outgoing_[*id];
  outgoing.body = ask.body;
  outgoing.reads = ask.reads;
  for (const auto& [name, value] : ask.trailers) outgoing.trailers.add(name, value);
  connection_.mark_dirty();
  return *id;
}

const Answer& Http2Client::wait(Id id, Duration timeout) {
  loop_.run_until([&] { return answers_.at(id).over; }, timeout);
  return answers_.at(id);
}

const Answer& Http2Client::wait_head(Id id, Duration timeout) {
  loop_.run_until([&] { return answers_.at(id).status >= 200 || answers_.at(id).over; }, timeout);
  return answers_.at(id);
}

void Http2Client::read(Id id) {
  const auto found = outgoing_.find(id);
  if (found == outgoing_.end() || ended_) return;
  found->second.reads = true;
  session_->consume(id, static_cast<std::size_t>(std::exchange(found->second.owed, 0)));
  connection_.mark_dirty();
}

void Http2Client::reset(Id id, http2::ErrorCode code) {
  if (ended_) return;
  session_->reset_stream(id, code);
  connection_.mark_dirty();
}

void Http2Client::on_established() {
  http2::SessionOptions options;
  options.server = false;
  options.stream_window_bytes = options_.stream_window_bytes;
  options.connection_window_bytes = options_.connection_window_bytes;
  options.header_fields_max = 20'000;
  options.header_list_bytes_max = 2 * 1024 * 1024;
  session_ = std::make_unique<http2::Session>(*this, options, loop_.now());
  connection_.mark_dirty();
}

void Http2Client::on_receive(Bytes plain) {
  const Result<void> fed = session_->feed(plain, loop_.now());
  connection_.mark_dirty();
  if (fed || ended_) return;
  ended_ = true;
  end_ = fed.error();
  close_all(Ending::connection_closed);
  connection_.close();
}

std::size_t Http2Client::on_collect(MutableBytes batch) {
  return session_ == nullptr ? 0 : session_->collect(batch);
}

void Http2Client::on_end(const Error& error) {
  if (ended_) return;
  ended_ = true;
  end_ = error;
  close_all(error.kind == ErrorKind::reset ? Ending::connection_reset : Ending::connection_closed);
}

void Http2Client::close_all(Ending ending) {
  for (auto& [id, answer] : answers_) {
    if (!answer.over) finish(id, answer, ending, http2::ErrorCode::no_error);
  }
}

Answer* Http2Client::find(Id id) {
  const auto found = answers_.find(id);
  return found == answers_.end() ? nullptr : &found->second;
}

void Http2Client::finish(Id id, Answer& answer, Ending ending, http2::ErrorCode code) {
  if (answer.ending == Ending::open) {
    answer.ending = ending;
    answer.code = code;
    answer.ended_at = Clock::now();
  }
  answer.over = true;
  over_.push_back(id);
}

void Http2Client::on_response(http2::StreamRef stream, http::ResponseHead&& head, bool) {
  Answer* answer = find(stream.id);
  if (answer == nullptr || head.status < 200) return;
  answer->status = head.status;
  answer->head_at = answer->last_byte_at = Clock::now();
  for (std::size_t i = 0; i < head.fields.size(); ++i) {
    answer->fields.emplace(head.fields[i].name, head.fields[i].value);
  }
}

void Http2Client::on_data(http2::StreamRef stream, Bytes data) {
  Answer* answer = find(stream.id);
  if (answer != nullptr) {
    answer->bytes += data.size();
    answer->last_byte_at = Clock::now();
    if (answer->body.size() < options_.body_bytes_kept) answer->body.append(as_text(data));
  }
  const auto outgoing = outgoing_.find(stream.id);
  if (outgoing != outgoing_.end() && !outgoing->second.reads) {
    outgoing->second.owed += data.size();
    return;
  }
  session_->consume(stream.id, data.size());
}

void Http2Client::on_end_of_stream(http2::StreamRef stream) {
  Answer* answer = find(stream.id);
  if (answer == nullptr) return;
  answer->ending = Ending::end_stream;
  answer->ended_at = Clock::now();
}

void Http2Client::on_stream_closed(http2::StreamRef stream, http2::ErrorCode code, bool by_peer) {
  outgoing_.erase(stream.id);
  Answer* answer = find(stream.id);
  if (answer == nullptr || answer->over) return;
  if (answer->ending == Ending::end_stream && by_peer) answer->upload_stopped = true;
  Ending ending = by_peer ? Ending::reset : Ending::own_reset;
  if (code == http2::ErrorCode::refused_stream && !goaways_.empty()) {
    if (stream.id > goaways_.back().first) {
      ending = Ending::refused_by_goaway;
    } else if (!session_->request_written(stream.id)) {
      ending = Ending::never_sent;
    }
  }
  finish(stream.id, *answer, ending, code);
}

http2::BodyResult Http2Client::on_body_wanted(http2::StreamRef stream, MutableBytes room) {
  Outgoing& outgoing = outgoing_[stream.id];
  const std::size_t bytes = std::min(outgoing.body.size() - outgoing.sent, room.size());
  std::memcpy(room.data(), outgoing.body.data() + outgoing.sent, bytes);
  outgoing.sent += bytes;
  return {bytes, outgoing.sent == outgoing.body.size() ? http2::BodyStatus::finished
                                                       : http2::BodyStatus::more};
}

const http::Fields* Http2Client::on_trailers_wanted(http2::StreamRef stream) {
  const http::Fields& trailers = outgoing_[stream.id].trailers;
  return trailers.empty() ? nullptr : &trailers;
}

void Http2Client::on_output_ready() {
  if (!ended_) connection_.mark_dirty();
}

// --- load ------------------------------------------------------------------------------------

std::size_t run(const std::vector<Http2Client*>& clients, const Load& load, Duration timeout) {
  CHECK(!clients.empty());
  std::map<std::pair<std::size_t, Http2Client::Id>, std::size_t> numbers;
  std::size_t begun = 0;
  std::size_t seen = 0;
  const auto step = [&] {
    for (std::size_t i = 0; i < clients.size(); ++i) {
      for (const Http2Client::Id id : clients[i]->take_over()) {
        const auto number = numbers.find({i, id});
        if (number == numbers.end()) continue;
        ++seen;
        if (load.check) load.check(number->second, clients[i]->answer(id));
        clients[i]->forget(id);
        numbers.erase(number);
      }
    }
    while (begun < load.count && numbers.size() < load.at_once) {
      const std::size_t which = load.client ? load.client(begun) : begun % clients.size();
      const Http2Client::Id id = clients[which]->ask(load.ask(begun));
      numbers[{which, id}] = begun++;
    }
    return seen == load.count;
  };
  clients[0]->loop().run_until(step, timeout);
  return seen;
}

// --- raw -------------------------------------------------------------------------------------

RawClient::RawClient(const io::Address& address, std::shared_ptr<const tls::ClientContext> tls,
                     bool handshake, std::string_view source) {
  CHECK(tls::initialize().has_value());
  descriptor_ = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(descriptor_ >= 0);
  if (!source.empty()) {
    const io::Address from = io::Address::parse(std::string(source) + ":0").value();
    // The port is chosen by connect: one that was used towards somebody else is free.
    const int on = 1;
    ::setsockopt(descriptor_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    CHECK_EQ(::bind(descriptor_, from.data(), from.size()), 0);
  }
  if (::connect(descriptor_, address.data(), address.size()) != 0) {
    ::close(descriptor_);
    descriptor_ = -1;
    end_ = End::reset;
    return;
  }
  ::fcntl(descriptor_, F_SETFL, ::fcntl(descriptor_, F_GETFL) | O_NONBLOCK);
  if (tls == nullptr) return;
  engine_ = tls::Engine::client(std::move(tls), api_server_name).value();
  if (!handshake) return;
  process_tls();
  read_until([this] { return established(); });
}

void RawClient::vanish() {
  sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
  const sock_fprog program{1, nothing};
  CHECK_EQ(::setsockopt(descriptor_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
}

void RawClient::bound_receive_buffer(int bytes) {
  CHECK_EQ(::setsockopt(descriptor_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
}

RawClient::~RawClient() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool RawClient::established() const { return engine_ != nullptr && engine_->established(); }
std::string RawClient::alpn() const { return std::string(engine_->alpn()); }

std::size_t RawClient::count(std::uint8_t type) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(frames_, [type](const Frame& frame) { return frame.type == type; }));
}

const Frame* RawClient::find(std::uint8_t type) const {
  const auto found =
      std::ranges::find_if(frames_, [type](const Frame& frame) { return frame.type == type; });
  return found == frames_.end() ? nullptr : &*found;
}

void RawClient::process(Bytes bytes) {
  if (!http2_) {
    received_.append(as_text(bytes));
    return;
  }
  reader_.append(bytes);
  for (Frame& frame : reader_.all()) frames_.push_back(std::move(frame));
}

void RawClient::process_tls() {
  using Status = tls::Engine::Status;
  if (!engine_->established()) {
    const Status status = engine_->handshake();
    flush_pending();
    if (status == Status::failed) end_ = End::alert;
    if (status != Status::done) return;
  }
  while (true) {
    const tls::Engine::ReadResult result = engine_->read();
    if (result.status == Status::done) {
      process(result.plain);
      continue;
    }
    if (result.status == Status::closed && end_ == End::open) end_ = End::close_notify;
    if (result.status == Status::failed) end_ = End::alert;
    break;
  }
  flush_pending();
}

bool RawClient::flush_pending() {
  std::array<std::uint8_t, 20'000> memory;
  while (engine_->pending_bytes() > 0) {
    tls::RecordBuffer buffer{memory.data(), 0, memory.size()};
    engine_->take_pending(buffer);
    if (buffer.size == 0) break;
    if (!write_all(as_text({memory.data(), buffer.size}), std::chrono::seconds(5), false))
      return false;
  }
  return true;
}

// One look at the socket.
void RawClient::take_input(Duration timeout) {
  pollfd waiting{descriptor_, POLLIN, 0};
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  if (::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(milliseconds, 0))) <= 0) return;
  std::array<std::uint8_t, 65536> buffer;
  const ssize_t got = ::recv(descriptor_, buffer.data(), buffer.size(), 0);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    if (end_ == End::open) end_ = End::reset;
    return;
  }
  if (got == 0) {
    if (end_ == End::open) end_ = End::fin;
    return;
  }
  const Bytes bytes(buffer.data(), static_cast<std::size_t>(got));
  if (engine_ == nullptr) return process(bytes);
  engine_->feed(bytes);
  process_tls();
  engine_->keep_input();
}

bool RawClient::read_until(const std::function<bool()>& done, Duration timeout) {
  if (descriptor_ < 0) return false;
  const Clock::time_point deadline = Clock::now() + timeout;
  while (!done()) {
    const Duration left = deadline - Clock::now();
    if (end_ != End::open || left <= Duration::zero()) return false;
    take_input(std::min<Duration>(left, std::chrono::milliseconds(100)));
  }
  return true;
}

bool RawClient::write_all(std::string_view bytes, Duration timeout, bool reads) {
  const Clock::time_point deadline = Clock::now() + timeout;
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return false;
    if (Clock::now() >= deadline) return false;
    pollfd waiting{descriptor_, static_cast<short>(POLLOUT | (reads ? POLLIN : 0)), 0};
    ::poll(&waiting, 1, 50);
    if (reads && (waiting.revents & POLLIN) != 0) {
      take_input(Duration::zero());
      if (!may_send()) return false;
    }
  }
  return true;
}

bool RawClient::send_wire(std::string_view bytes) {
  return descriptor_ >= 0 && write_all(bytes, std::chrono::seconds(10), false);
}

bool RawClient::send(std::string_view bytes, Duration timeout, bool reads) {
  if (descriptor_ < 0 || !may_send()) return false;
  if (engine_ == nullptr) return write_all(bytes, timeout, reads);
  std::vector<std::uint8_t> record(tls::encrypted_record_bytes_max);
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, tls::plain_record_bytes_max);
    bytes.remove_prefix(piece.size());
    tls::RecordBuffer buffer{record.data(), 0, record.size()};
    if (!write_record(*engine_, as_bytes(piece), buffer)) return false;
    if (!write_all(as_text({record.data(), buffer.size}), timeout, reads)) return false;
    if (reads && end_ == End::open) take_input(Duration::zero());
    if (!may_send()) return false;
  }
  return true;
}

void RawClient::end_output(bool in_order) {
  if (in_order) {
    engine_->close_notify();
    flush_pending();
  }
  ::shutdown(descriptor_, SHUT_WR);
}

void RawClient::reset() {
  const linger value{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &value, sizeof(value));
  ::close(std::exchange(descriptor_, -1));
}

bool RawClient::begin_http2(
    std::initializer_list<std::pair<frame::Setting, std::uint32_t>> settings) {
  if (!established()) return false;
  http2_ = true;
  process(as_bytes(std::exchange(received_, {})));
  FrameWriter writer;
  writer.magic().settings(settings);
  if (!send(writer.text())) return false;
  if (!read_until([this] { return count(frame::settings) >= 2; })) return false;  // theirs, and ACK
  return send(FrameWriter().settings_ack().text());
}

}  // namespace sluice::test
