// SPDX-License-Identifier: GPL-3.0-or-later
// sluice: flags -> configuration -> server.
#include <cstdio>
#include <exception>
#include <span>
#include <string>

#include "compose.h"
#include "sluice/config/flags.h"
#include "sluice/config/validate.h"
#include "sluice/http2/session.h"
#include "sluice/io/kernel_features.h"
#include "sluice/observability/log.h"
#include "sluice/server/server.h"
#include "sluice/tls/context.h"

namespace {

// Exit codes: 0 stopped as told, 1 could not start or go on, 2 wrong configuration.
constexpr int exit_failure = 1;
constexpr int exit_configuration = 2;

std::string version_text() {
  const sluice::tls::LibraryInfo tls = sluice::tls::library_info();
  return "sluice " SLUICE_VERSION "\nwolfSSL " + tls.version + ", cryptography " +
         (tls.cryptography_accelerated ? "accelerated" : "NOT accelerated") + "\nnghttp2 " +
         sluice::http2::library_version() + "\nliburing " + sluice::io::library_version() + "\n";
}

int run(std::span<const char* const> arguments) {
  using sluice::config::CommandLine;
  const CommandLine line = sluice::config::parse(arguments);
  if (line.action == CommandLine::Action::help) {
    std::fputs(sluice::config::help_text().c_str(), stdout);
    return 0;
  }
  if (const auto ready = sluice::tls::initialize(); !ready) {
    std::fprintf(stderr, "sluice: %s\n", ready.error().context.c_str());
    return exit_failure;
  }
  if (line.action == CommandLine::Action::version) {
    std::fputs(version_text().c_str(), stdout);
    return 0;
  }
  auto valid = sluice::config::validate(line.config, sluice::config::system_environment());
  valid.mistakes.insert(valid.mistakes.begin(), line.mistakes.begin(), line.mistakes.end());
  if (line.action == CommandLine::Action::check) {
    std::fputs(valid.report().c_str(), stdout);
    return valid.valid() ? 0 : exit_configuration;
  }
  for (const std::string& mistake : valid.mistakes) {
    std::fprintf(stderr, "sluice: %s\n", mistake.c_str());
  }
  if (!valid.valid()) return exit_configuration;

  sluice::log::start({.level = valid.config.log_level});
  for (const std::string& warning : valid.warnings) sluice::log::warning(warning);
  for (const std::string& note : valid.notes) sluice::log::info(note);
  auto server = sluice::server::Server::create(sluice::compose(valid, SLUICE_VERSION));
  int code = exit_failure;
  if (server) {
    code = (*server)->run();
  } else {
    sluice::log::error(server.error().context);
  }
  sluice::log::stop();
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(std::span<const char* const>(argv, static_cast<std::size_t>(argc)).subspan(1));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sluice: %s\n", error.what());
    return exit_failure;
  }
}
