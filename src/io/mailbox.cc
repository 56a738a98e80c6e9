// SPDX-License-Identifier: GPL-3.0-or-later
// Posting and waking. Owner and poster each write one flag and then read the other's (sleeping_,
// waiting_messages_), sequentially consistent: at least one of them sees the other.
#include "sluice/io/mailbox.h"

#include <utility>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"

namespace sluice::io {

Result<std::unique_ptr<Mailbox>> Mailbox::create(Ring& ring) {
  const auto descriptor = open_wake_descriptor();
  if (!descriptor) return std::unexpected(descriptor.error());
  std::unique_ptr<Mailbox> mailbox(new Mailbox(ring, *descriptor));
  ring.poll_readable(mailbox->wake_, mailbox->descriptor_);
  return mailbox;
}

Mailbox::Mailbox(Ring& ring, int descriptor)
    : ring_(ring), descriptor_(descriptor), wake_(Operation::bind<&Mailbox::woken>(this)) {}

Mailbox::~Mailbox() {
  CHECK(stopping_);
  CHECK(stopped());
  close_socket(descriptor_);
}

void Mailbox::post(Message message) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(message));
    waiting_messages_.store(true);
  }
  // Only the first post to a sleeping owner wakes it.
  if (sleeping_.load() && sleeping_.exchange(false)) {
    wakes_.fetch_add(1, std::memory_order_relaxed);
    signal_wake(descriptor_);
  }
}

std::size_t Mailbox::run() {
  CHECK(running_.empty());
  if (!waiting_messages_.load(std::memory_order_acquire)) return 0;
  {
    const std::lock_guard lock(mutex_);
    running_.swap(posted_);
    waiting_messages_.store(false);
  }
  const std::size_t count = running_.size();
  for (Message& message : running_) message();
  running_.clear();
  return count;
}

bool Mailbox::prepare_to_wait() {
  sleeping_.store(true);
  if (!waiting_messages_.load()) return true;
  sleeping_.store(false);
  return false;
}

void Mailbox::finished_waiting() { sleeping_.store(false); }

void Mailbox::stop() {
  stopping_ = true;
  ring_.cancel(wake_);
}

void Mailbox::woken(const Completion& completion) {
  if (completion.result >= 0) drain_wake(descriptor_);
  CHECK(!completion.last || stopping_);
}

}  // namespace sluice::io
