// SPDX-License-Identifier: GPL-3.0-or-later
// freeze PROCESS THREAD: a thread of that name stands still until its process has ended. For the
// service's test under a real systemd.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "frozen_thread.h"

int main(int count, char** words) {
  if (count != 3) return 2;
  const pid_t thread = sluice::test::thread_of(std::atoi(words[1]), words[2]);
  sluice::test::FrozenThread frozen(thread);
  if (thread == 0 || !frozen.frozen()) {
    std::fprintf(stderr, "freeze: no thread %s of %s, or no right to stop it\n", words[2],
                 words[1]);
    return 1;
  }
  while (!frozen.take_note_of_end()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  return 0;
}
