// SPDX-License-Identifier: GPL-3.0-or-later
// Streams that wait for a place.
#include "waiting_room.h"

#include "sluice/base/check.h"

namespace sluice::backend {

WaitingRoom::~WaitingRoom() {
  CHECK(empty());
  for (const std::size_t count : count_) CHECK_EQ(count, std::size_t{0});
}

std::size_t& WaitingRoom::count_of(BackendStream& stream) {
  return count_[static_cast<std::size_t>(stream.carriage().stay)];
}

void WaitingRoom::add(BackendStream& stream, bool behind) {
  CHECK(stream.state() == BackendStream::State::waiting);
  stream.carriage().behind = behind;
  arrivals_.push_back(stream);
  push(stream);
}

void WaitingRoom::push(BackendStream& stream) {
  CHECK(!stream.in_fair_queue());
  const BackendStream::Carriage& carriage = stream.carriage();
  turns(carriage.stay, carriage.behind)
      .push(stream, {.client = carriage.client,
                     .lane = static_cast<std::size_t>(carriage.standing),
                     .part = carriage.connection});
  ++count_of(stream);
}

void WaitingRoom::remove(BackendStream& stream) {
  CHECK_GT(count_of(stream), std::size_t{0});
  CHECK(static_cast<ListNode<WaitingTag>&>(stream).linked());
  static_cast<ListNode<WaitingTag>&>(stream).unlink();
  turns(stream.carriage().stay, stream.carriage().behind).remove(stream);
  --count_of(stream);
}

BackendStream* WaitingRoom::next(Stay stay, bool behind) {
  auto* stream = static_cast<BackendStream*>(turns(stay, behind).pop());
  if (stream == nullptr) return nullptr;
  CHECK_GT(count_of(*stream), std::size_t{0});
  --count_of(*stream);
  return stream;
}

void WaitingRoom::served(BackendStream& stream) {
  CHECK(!stream.in_fair_queue());
  static_cast<ListNode<WaitingTag>&>(stream).unlink();
}

void WaitingRoom::give_back(BackendStream& stream) {
  turns(stream.carriage().stay, stream.carriage().behind).give_back(stream);
  ++count_of(stream);
}

void WaitingRoom::pass_over(BackendStream& stream) {
  CHECK(stream.carriage().behind);
  turns(stream.carriage().stay, true).pass_over(stream);
  ++count_of(stream);
}

void WaitingRoom::put_behind(BackendStream& stream) {
  CHECK(!stream.carriage().behind);
  stream.carriage().behind = true;
  push(stream);
}

void WaitingRoom::end(Instant since, StreamEnd::Cause cause, const std::string& context) {
  List<BackendStream, WaitingTag> left;  // they have no turn any more
  while (!arrivals_.empty() && arrivals_.front().carriage().waiting_since <= since) {
    BackendStream& stream = *arrivals_.pop_front();
    turns(stream.carriage().stay, stream.carriage().behind).remove(stream);
    left.push_back(stream);
  }
  while (!left.empty()) {
    BackendStream& stream = left.front();
    remove(stream);
    stream.end({cause, Retry::not_executed, context});
  }
}

std::optional<Instant> WaitingRoom::oldest() {
  if (arrivals_.empty()) return std::nullopt;
  return arrivals_.front().carriage().waiting_since;
}

}  // namespace sluice::backend
