// SPDX-License-Identifier: GPL-3.0-or-later
// A mistake of ours: a wrong transition of one machine, and what the log says of it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "sluice/base/check.h"
#include "sluice/base/transitions.h"
#include "sluice/observability/log.h"

namespace sluice::test {

class Mistake {
 public:
  // The next step of `machine` into one of these states is refused.
  Mistake(std::string_view machine, std::uint32_t into)
      : staged_{.machine = machine, .into = into}, log_(::memfd_create("log", MFD_CLOEXEC)) {
    CHECK(log_ >= 0);
    CHECK(staged_mistake == nullptr);
    log::start({.level = log::Level::error, .descriptor = log_, .journal = true});
    staged_mistake = &staged_;
  }
  ~Mistake() {
    staged_mistake = nullptr;
    if (logging_) log::stop();
    ::close(log_);
  }
  Mistake(const Mistake&) = delete;
  Mistake& operator=(const Mistake&) = delete;

  bool made() const { return staged_.made > 0; }
  // All lines at level error.
  std::string log_text() {
    if (logging_) log::stop();
    logging_ = false;
    std::string text(1 << 16, '\0');
    const ssize_t n = ::pread(log_, text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }

 private:
  StagedMistake staged_;
  const int log_;
  bool logging_ = true;
};

}  // namespace sluice::test
