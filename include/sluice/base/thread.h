// SPDX-License-Identifier: GPL-3.0-or-later
// Threads beside those that serve.
#pragma once

#include <functional>
#include <thread>

namespace sluice {

// All signals are blocked in it: they are others' business, also where those do not block them.
// Throws std::system_error when there can be no other thread (a limit on tasks, no memory).
std::thread start_thread(std::move_only_function<void()> work);

}  // namespace sluice
