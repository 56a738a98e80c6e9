// SPDX-License-Identifier: GPL-3.0-or-later
// Signals through a descriptor.
#include "signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace sluice::server {
namespace {

sigset_t served_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGUSR2);
  return set;
}

}  // namespace

void Signals::block() {
  const sigset_t set = served_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

Result<std::unique_ptr<Signals>> Signals::create(io::Ring& ring,
                                                 std::function<void(int)> on_signal) {
  const sigset_t set = served_signals();
  const int descriptor = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (descriptor < 0) return fail_errno("signalfd", errno);
  std::unique_ptr<Signals> signals(new Signals(ring, descriptor, std::move(on_signal)));
  ring.poll_readable(signals->poll_, descriptor);
  return signals;
}

Signals::Signals(io::Ring& ring, int descriptor, std::function<void(int)> on_signal)
    : ring_(ring),
      descriptor_(descriptor),
      on_signal_(std::move(on_signal)),
      poll_(io::Operation::bind<&Signals::readable>(this)) {}

Signals::~Signals() { ::close(descriptor_); }

void Signals::stop() {
  stopping_ = true;
  ring_.cancel(poll_);
}

void Signals::readable(const io::Completion& completion) {
  if (stopping_ || completion.result < 0) return;
  signalfd_siginfo info;
  while (::read(descriptor_, &info, sizeof info) == sizeof info) {
    on_signal_(static_cast<int>(info.ssi_signo));
  }
  if (completion.last) ring_.poll_readable(poll_, descriptor_);
}

}  // namespace sluice::server
