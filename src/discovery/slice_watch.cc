// SPDX-License-Identifier: GPL-3.0-or-later
// List and watch.
#include "sluice/discovery/slice_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "api_stream.h"
#include "sluice/base/check.h"
#include "sluice/base/random.h"
#include "sluice/discovery/slices.h"

namespace sluice::discovery {
namespace {

// A connection and its first byte; a list.
constexpr Duration list_timeout = std::chrono::seconds(15);
// A server ends a watch itself after so long, and a part more.
constexpr std::uint64_t watch_seconds = 240;
constexpr std::uint64_t watch_seconds_more = 60;
constexpr Duration watch_slack = std::chrono::seconds(30);
// Nothing heard for so long: a sign of life is asked for, and has to come.
constexpr Duration ping_after = std::chrono::seconds(20);
constexpr Duration silent_max = std::chrono::seconds(35);
constexpr Duration retry_first = std::chrono::seconds(1);
constexpr Duration retry_max = std::chrono::seconds(30);
// A watch that lived as long was none that fails at once.
constexpr Duration watch_good_after = std::chrono::seconds(10);
// Of events between two ticks. All slices may change at once; who sends more than that is not to
// occupy the thread that serves everybody.
constexpr std::size_t events_at_once = Slices::slices_max;
constexpr std::size_t event_bytes_at_once = 2 * Slices::event_bytes_max;

}  // namespace

class SliceWatch::Connection final : private ApiStreamHandler {
 public:
  Connection(net::Transport& transport, SliceServers& servers, SliceQuestion question,
             std::uint64_t seed, OnResult on_result)
      : transport_(transport),
        servers_(servers),
        question_(std::move(question)),
        random_(seed),
        on_result_(std::move(on_result)),
        slices_(question_.service, question_.port_name, question_.slice),
        stream_(transport, *this) {}

  void tick() {
    const Instant time = now();
    events_ = event_bytes_ = 0;
    if (state_ == State::waiting) {
      if (time >= next_ && !stopping_) list();
    } else if (time >= deadline_) {
      fail_with("no answer in time");
    } else if (state_ == State::watching && time - stream_.heard_last() >= silent_max) {
      fail_with("the server has fallen silent");
    } else if (state_ == State::watching && time - stream_.heard_last() >= ping_after &&
               silence_asked_ != stream_.heard_last()) {
      silence_asked_ = stream_.heard_last();
      stream_.ping();
    }
  }

  void terminate() {
    stopping_ = true;
    state_ = State::waiting;
    stream_.terminate();
  }
  bool terminated() const { return stream_.terminated(); }

 private:
  enum class State : std::uint8_t { waiting, listing, watching };

  Instant now() const { return transport_.reactor().now(); }
  bool paced() const { return question_.pace > Duration::zero(); }

  void list() {
    const auto server = servers_.server(turn_);
    if (!server) return;
    text_.clear();
    begin(State::listing, *server, "");
    deadline_ = now() + list_timeout;
  }

  void watch() {
    const std::uint64_t seconds = watch_seconds + random_.below(watch_seconds_more);
    const auto server = servers_.server(turn_);
    if (!server) return wait(retry_first);
    text_.clear();
    searched_ = 0;
    watch_began_ = now();
    begin(State::watching, *server,
          fmt::format("&watch=true&allowWatchBookmarks={}&timeoutSeconds={}&resourceVersion={}",
                      !paced(), seconds, slices_.resource_version()));
    deadline_ = now() + std::chrono::seconds(seconds) + watch_slack;
  }

  void begin(State state, const SliceServers::Server& server, std::string_view more) {
    state_ = state;
    status_ = 0;
    http::RequestHead head;
    head.method = "GET";
    head.scheme = "https";
    head.authority = server.name.contains(':') ? server.address.to_string() : server.name;
    head.path = fmt::format(
        "{}/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?labelSelector=kubernetes.io%2F"
        "service-name%3D{}{}{}{}",
        question_.path, question_.name_space, question_.service,
        question_.slice.empty() ? "" : "&fieldSelector=metadata.name%3D", question_.slice, more);
    head.fields.add("accept", "application/json");
    head.fields.add("user-agent", "sluice-discovery");
    servers_.identify(head.fields);
    stream_.get(server, std::move(head));
  }

  void wait(Duration longer) {
    state_ = State::waiting;
    next_ = now() + longer + random_.between(Duration::zero(), longer / 4 + Duration(1));
  }

  void fail_with(const std::string& why) {
    stream_.give_up();
    failed(why);
  }

  // Whether what ends now has shown that lists and watches work here.
  bool has_lived() const {
    return state_ == State::watching && now() - watch_began_ >= watch_good_after;
  }

  // Longer each time, until a watch has lived.
  void wait_again() {
    retry_ = has_lived() ? retry_first : std::clamp(retry_ * 2, retry_first, retry_max);
    wait(retry_);
  }

  // A watch is over that may be.
  void list_again() {
    if (!has_lived()) return wait_again();
    retry_ = {};
    wait(Duration::zero());
  }

  void failed(const std::string& why) {
    ++turn_;
    wait_again();
    on_result_(fail(ErrorKind::unavailable, why, Side::backend));
  }

  // ApiStreamHandler
  void on_status(int status) override { status_ = status; }

  bool on_body(std::string_view bytes) override {
    if (status_ != 200) return true;
    text_ += bytes;
    if (state_ == State::listing) {
      if (text_.size() <= Slices::list_bytes_max) return true;
      failed("the list is too long");
      return false;
    }
    if (paced()) {
      retry_ = {};
      wait(question_.pace);
      return false;
    }
    event_bytes_ += bytes.size();
    const auto taken = take_events();
    if (!taken) {
      failed(taken.error().context);
      return false;
    }
    if (*taken == Slices::Event::expired) {
      list_again();
      return false;
    }
    if (*taken == Slices::Event::changed) on_result_(slices_.addresses());
    return true;
  }

  // What all that have come whole have done together.
  Result<Slices::Event> take_events() {
    auto done = Slices::Event::taken;
    std::size_t at = 0;
    for (std::size_t end = text_.find('\n', searched_); end != std::string::npos;
         end = text_.find('\n', at)) {
      if (++events_ > events_at_once) return too_many();
      auto event = slices_.take_event(std::string_view(text_).substr(at, end - at));
      at = end + 1;
      if (!event || *event == Slices::Event::expired) return event;
      if (*event == Slices::Event::changed) done = *event;
    }
    text_.erase(0, at);
    searched_ = text_.size();
    if (event_bytes_ > event_bytes_at_once) return too_many();
    if (text_.size() > Slices::event_bytes_max) {
      return fail(ErrorKind::limit, "an event is too long");
    }
    return done;
  }
  static std::unexpected<Error> too_many() {
    return fail(ErrorKind::limit, "it sends more events than can be taken");
  }

  void on_over(Result<void> how) override {
    if (stopping_) return;
    if (!how) return failed(how.error().context);
    if (status_ != 200) return failed(answers(status_));
    if (state_ == State::watching) return list_again();  // the server's own end
    if (const auto taken = slices_.take_list(text_); !taken) return failed(taken.error().context);
    on_result_(slices_.addresses());
    if (!stopping_) watch();
  }

  static std::string answers(int status) {
    if (status == 401) return "it answers 401: the credential is not taken";
    if (status == 403) return "it answers 403: list and watch of endpointslices are not allowed";
    return fmt::format("it answers {}", status);
  }

  net::Transport& transport_;
  SliceServers& servers_;
  const SliceQuestion question_;
  Random random_;
  const OnResult on_result_;
  Slices slices_;
  ApiStream stream_;
  State state_ = State::waiting;
  bool stopping_ = false;
  int status_ = 0;
  std::string text_;                          // of the answer, as far as it is not taken
  std::size_t searched_ = 0;                  // of it: no event ends there
  std::size_t events_ = 0, event_bytes_ = 0;  // since the last tick
  std::size_t turn_ = 0;
  Duration retry_{};
  Instant next_{};
  Instant deadline_{};
  Instant watch_began_{};
  std::optional<Instant>
      silence_asked_;  // the one for which a sign of life was asked, by its begin
};

SliceWatch::SliceWatch(net::Transport& transport, SliceServers& servers, SliceQuestion question,
                       std::uint64_t seed, OnResult on_result)
    : connection_(std::make_unique<Connection>(transport, servers, std::move(question), seed,
                                               std::move(on_result))) {}

SliceWatch::~SliceWatch() { CHECK(terminated()); }

void SliceWatch::tick() { connection_->tick(); }
void SliceWatch::terminate() { connection_->terminate(); }
bool SliceWatch::terminated() const { return connection_->terminated(); }

}  // namespace sluice::discovery
