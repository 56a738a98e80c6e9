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
#include "sluice/net/tcp_connection.h"

namespace sluice::server {
namespace {

constexpr const char* plain_text = "text/plain; charset=utf-8";
constexpr std::size_t connections_max = 32;
// With a request and its answer; then with a reader that takes nothing.
constexpr Duration patience = std::chrono::seconds(10);
constexpr Duration accept_retry = std::chrono::milliseconds(200);

net::TransportOptions transport_options() {
  net::TransportOptions options;
  options.send_stall_timeout = patience;
  return options;
}

}  // namespace

// One request, one reply, then the end: scrapers come every few seconds, not every millisecond.
class Admin::Connection final : public net::TcpHandler,
                                public std::enable_shared_from_this<Connection> {
 public:
  Connection(Admin& admin, int descriptor)
      : admin_(admin),
        tcp_(admin.transport_, *this),
        deadline_(io::Timer::bind<&Connection::terminate>(this)) {
    tcp_.accept(descriptor);
    tcp_.receive();
    admin_.reactor_.timers().set(deadline_, admin_.reactor_.now(), patience);
  }

  void terminate() { tcp_.terminate(); }

 private:
  void on_receive(Bytes bytes) override {
    if (parser_.complete()) return;  // what follows the request is not looked at
    if (const auto fed = parser_.feed(bytes); !fed) {
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
    admin_.handler_(
        target, [self = weak_from_this(), head_only = method == "HEAD"](const AdminReply& reply) {
          if (const auto connection = self.lock()) connection->answer(reply, head_only);
        });
  }

  void answer(const AdminReply& reply, bool head_only) {
    if (tcp_.state() != net::TcpConnection::State::open) return;
    http1::append_response(output_, {.status = reply.status,
                                     .content_type = reply.content_type,
                                     .body = reply.body,
                                     .head_only = head_only,
                                     .extra_fields = {}});
    deadline_.cancel();
    tcp_.close();
  }

  Fill on_fill(MutableBytes room) override {
    const Bytes rest = as_bytes(output_).subspan(sent_);
    const std::size_t bytes = std::min(rest.size(), room.size());
    std::copy_n(rest.data(), bytes, room.data());
    sent_ += bytes;
    return {bytes, bytes < rest.size()};
  }

  void on_end(const Error&) override {}
  void on_closed() override { admin_.closed(*this); }  // destroys this

  Admin& admin_;
  net::TcpConnection tcp_;
  http1::RequestParser parser_;
  std::string output_;
  std::size_t sent_ = 0;
  io::Timer deadline_;
};

Result<std::unique_ptr<Admin>> Admin::create(io::Reactor& reactor, const io::Address& address,
                                             Handler handler) {
  auto listener = io::listen_on(address, {.backlog = 128, .reuse_port = false});
  if (!listener) return std::unexpected(listener.error());
  auto admin = adopt(reactor, *listener, std::move(handler));
  admin->start();
  return admin;
}

std::unique_ptr<Admin> Admin::adopt(io::Reactor& reactor, int listener, Handler handler) {
  return std::unique_ptr<Admin>(new Admin(reactor, listener, std::move(handler)));
}

Admin::Admin(io::Reactor& reactor, int listener, Handler handler)
    : reactor_(reactor),
      transport_(reactor, transport_options()),
      listener_(listener),
      handler_(std::move(handler)),
      accept_(io::Operation::bind<&Admin::accepted>(this)),
      retry_(io::Timer::bind<&Admin::retry_accept>(this)) {}

Admin::~Admin() {
  CHECK(stopped());
  if (listener_ >= 0) io::close_socket(listener_);
}

void Admin::start() { reactor_.ring().accept(accept_, listener_); }

void Admin::leave() {
  if (std::exchange(leaving_, true)) return;
  retry_.cancel();
  reactor_.ring().cancel(accept_);
  if (!accept_.in_flight()) finish_leaving();
}

io::Address Admin::address() const { return io::local_address(listener_).value_or(io::Address{}); }

void Admin::accepted(const io::Completion& completion) {
  if (completion.result >= 0) admit(completion.result);
  if (!completion.last) return;
  if (!leaving_) return reactor_.timers().set(retry_, reactor_.now(), accept_retry);
  if (!stopping_) finish_leaving();
}

void Admin::admit(int descriptor) {
  if (stopping_ || connections_.size() >= connections_max) return io::close_socket(descriptor);
  connections_.push_back(std::make_shared<Connection>(*this, descriptor));
}

// Who came at the moment at which the accept was cancelled has woken nobody else.
void Admin::finish_leaving() {
  for (int taken = io::accept_now(listener_); taken >= 0; taken = io::accept_now(listener_)) {
    admit(taken);
  }
  io::close_socket(std::exchange(listener_, -1));
}

void Admin::retry_accept() {
  if (!leaving_ && !accept_.in_flight()) reactor_.ring().accept(accept_, listener_);
}

void Admin::closed(const Connection& connection) {
  std::erase_if(connections_, [&](const auto& each) { return each.get() == &connection; });
}

void Admin::stop() {
  stopping_ = true;
  leaving_ = true;
  retry_.cancel();
  reactor_.ring().cancel(accept_);
  for (const auto& connection : connections_) connection->terminate();
}

bool Admin::stopped() const { return stopping_ && !accept_.in_flight() && connections_.empty(); }

}  // namespace sluice::server
