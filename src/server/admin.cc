// SPDX-License-Identifier: GPL-3.0-or-later
// The admin listener.
#include "admin.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/http1/parser.h"
#include "sluice/http1/writer.h"
#include "sluice/io/socket.h"

namespace sluice::server {
namespace {

constexpr const char* plain_text = "text/plain; charset=utf-8";
constexpr std::size_t connections_max = 32;
constexpr Duration request_timeout = std::chrono::seconds(10);
constexpr Duration accept_retry = std::chrono::milliseconds(200);

}  // namespace

// One request, one reply, then the end: scrapers come every few seconds, not every millisecond.
class Admin::Connection {
 public:
  Connection(Admin& admin, int descriptor)
      : admin_(admin),
        descriptor_(descriptor),
        receive_(io::Operation::bind<&Connection::received>(this)),
        send_(io::Operation::bind<&Connection::sent>(this)),
        deadline_(io::Timer::bind<&Connection::terminate>(this)) {
    io::Reactor& reactor = admin_.reactor_;
    reactor.timers().set(deadline_, reactor.now(), request_timeout);
    reactor.ring().receive(receive_, descriptor_);
  }

  ~Connection() {
    CHECK(joined());
    io::close_socket(descriptor_);
  }

  void terminate() {
    ending_ = true;
    admin_.reactor_.ring().cancel(receive_);
    admin_.reactor_.ring().cancel(send_);
    join();
  }

  bool joined() const { return ending_ && !receive_.in_flight() && !send_.in_flight(); }

 private:
  void join() {
    if (joined()) admin_.reactor_.at_turn_end(admin_.reap_, io::Reactor::Phase::reap);
  }

  void received(const io::Completion& completion) {
    if (ending_) return join();
    if (completion.result <= 0) return terminate();
    if (answered_) return;  // what follows the request is not looked at
    if (const auto fed = parser_.feed(completion.bytes); !fed) {
      return answer({fed.error().kind == ErrorKind::limit ? 431 : 400, plain_text, "bad request\n"},
                    false);
    }
    if (!parser_.complete()) return;
    const std::string& method = parser_.head().method;
    if (method != "GET" && method != "HEAD") {
      return answer({405, plain_text, "only GET is served here\n"}, false);
    }
    std::string_view target = parser_.head().path;
    target = target.substr(0, target.find('?'));
    answer(admin_.handler_(target), method == "HEAD");
  }

  void answer(const AdminReply& reply, bool head_only) {
    answered_ = true;
    http1::append_response(output_, {.status = reply.status,
                                     .content_type = reply.content_type,
                                     .body = reply.body,
                                     .head_only = head_only,
                                     .extra_fields = {}});
    send_rest();
  }

  void send_rest() {
    admin_.reactor_.ring().send(send_, descriptor_, as_bytes(output_).subspan(sent_));
  }

  void sent(const io::Completion& completion) {
    if (ending_) return join();
    if (completion.result <= 0) return terminate();
    sent_ += static_cast<std::size_t>(completion.result);
    if (sent_ < output_.size()) return send_rest();
    // The peer's end of stream, or the deadline, ends the connection.
    io::shutdown_send(descriptor_);
  }

  Admin& admin_;
  int descriptor_;
  bool ending_ = false;
  bool answered_ = false;
  http1::RequestParser parser_;
  std::string output_;
  std::size_t sent_ = 0;
  io::Operation receive_;
  io::Operation send_;
  io::Timer deadline_;
};

Result<std::unique_ptr<Admin>> Admin::create(io::Reactor& reactor, const io::Address& address,
                                             Handler handler) {
  auto listener = io::listen_on(address, {.backlog = 128, .reuse_port = false});
  if (!listener) return std::unexpected(listener.error());
  return std::unique_ptr<Admin>(new Admin(reactor, *listener, std::move(handler)));
}

Admin::Admin(io::Reactor& reactor, int listener, Handler handler)
    : reactor_(reactor),
      listener_(listener),
      handler_(std::move(handler)),
      accept_(io::Operation::bind<&Admin::accepted>(this)),
      retry_(io::Timer::bind<&Admin::retry_accept>(this)),
      reap_(io::TurnEnd::bind<&Admin::reap>(this)) {
  reactor_.ring().accept(accept_, listener_);
}

Admin::~Admin() {
  CHECK(stopped());
  io::close_socket(listener_);
}

io::Address Admin::address() const { return io::local_address(listener_).value_or(io::Address{}); }

void Admin::accepted(const io::Completion& completion) {
  if (completion.result >= 0) {
    if (stopping_ || connections_.size() >= connections_max) {
      io::close_socket(completion.result);
    } else {
      connections_.push_back(std::make_unique<Connection>(*this, completion.result));
    }
  }
  if (completion.last && !stopping_) reactor_.timers().set(retry_, reactor_.now(), accept_retry);
}

void Admin::retry_accept() {
  if (!stopping_ && !accept_.in_flight()) reactor_.ring().accept(accept_, listener_);
}

void Admin::reap() {
  std::erase_if(connections_, [](const auto& connection) { return connection->joined(); });
}

void Admin::stop() {
  stopping_ = true;
  retry_.cancel();
  reactor_.ring().cancel(accept_);
  for (const auto& connection : connections_) connection->terminate();
}

bool Admin::stopped() const { return stopping_ && !accept_.in_flight() && connections_.empty(); }

}  // namespace sluice::server
