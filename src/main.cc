// SPDX-License-Identifier: GPL-3.0-or-later
// sluice: flags -> configuration -> server.
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#ifdef SLUICE_MIMALLOC
#include <mimalloc.h>
#endif

#include "compose.h"
#include "name_check.h"
#include "reader.h"
#include "sluice/config/check_client_certificate.h"
#include "sluice/config/flags.h"
#include "sluice/config/load.h"
#include "sluice/config/validate.h"
#include "sluice/discovery/kubeconfig.h"
#include "sluice/discovery/resolver.h"
#include "sluice/discovery/slices.h"
#include "sluice/http1/parser.h"
#include "sluice/http2/session.h"
#include "sluice/io/descriptors.h"
#include "sluice/io/kernel_features.h"
#include "sluice/kubernetes/watch_event.h"
#include "sluice/observability/log.h"
#include "sluice/server/server.h"
#include "sluice/tls/context.h"

namespace {

// Exit codes: 0 stopped as told, 1 could not start or go on, 2 wrong configuration.
constexpr int exit_failure = 1;
constexpr int exit_configuration = 2;

std::string allocator() {
#ifdef SLUICE_MIMALLOC
  const int version = mi_version();  // two digits each for minor and patch
  return fmt::format("mimalloc {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
#else
  return "mimalloc: not linked, memory comes from the C library";
#endif
}

// Every foreign library that the program is made of.
std::string version_text() {
  const sluice::tls::LibraryInfo tls = sluice::tls::library_info();
  return fmt::format(
      "sluice {}\nwolfSSL {}, cryptography {}\nnghttp2 {}\nllhttp {}\nliburing {}\nc-ares "
      "{}\nlibyaml {}\nJSON for Modern C++ {}\nzlib {}\nfmt {}.{}.{}\n{}\n",
      SLUICE_VERSION, tls.version, tls.cryptography_accelerated ? "accelerated" : "NOT accelerated",
      sluice::http2::library_version(), sluice::http1::library_version(),
      sluice::io::library_version(), sluice::discovery::resolver_version(),
      sluice::discovery::yaml_version(), sluice::discovery::json_version(),
      sluice::kubernetes::inflater_version(), FMT_VERSION / 10000, FMT_VERSION / 100 % 100,
      FMT_VERSION % 100, allocator());
}

using sluice::config::CommandLine;
using sluice::config::Environment;
using sluice::config::Loaded;
using sluice::config::Validation;

// Whom a client certificate would name, and nothing else.
int check_client_certificate(const CommandLine& line, const Environment& environment) {
  const Loaded loaded = sluice::config::load(line, environment);
  for (const std::string& mistake : loaded.mistakes) std::printf("%s\n", mistake.c_str());
  if (!loaded.mistakes.empty()) return exit_configuration;
  const auto report = sluice::config::check_client_certificate(
      loaded.process.config, line.client_certificate, environment);
  std::fputs(report.text.c_str(), stdout);
  return report.identity ? 0 : exit_configuration;
}

void tell(const sluice::config::Findings& findings) {
  for (const std::string& warning : findings.warnings) sluice::log::warning(warning);
  for (const std::string& note : findings.notes) sluice::log::info(note);
}

// `valid` is emptied of the files and the private keys in them.
int serve(Validation& valid, sluice::server::ReadConfiguration read,
          sluice::server::ProcessStart start) {
  sluice::Composed composed = sluice::compose(valid, SLUICE_VERSION);
  for (sluice::config::CheckedCluster& cluster : valid.clusters) cluster.files = {};
  sluice::io::reserve_descriptors();
  sluice::log::start(composed.log);
  tell(valid);
  for (const sluice::config::CheckedCluster& cluster : valid.clusters) tell(cluster);
  auto server =
      sluice::server::Server::create(std::move(composed.server), std::move(read), std::move(start));
  int code = exit_failure;
  if (server) {
    code = (*server)->run();
  } else {
    sluice::log::error(server.error().context);
  }
  sluice::log::stop();
  return code;
}

void print(const std::vector<std::string>& mistakes) {
  for (const std::string& mistake : mistakes) std::fprintf(stderr, "sluice: %s\n", mistake.c_str());
}

// The process that we should take over from serves on, and its log says why.
void refuse(const sluice::server::ProcessStart& start, const std::vector<std::string>& mistakes) {
  if (!start.inherited.predecessor) return;
  start.inherited.predecessor->refuse(mistakes.front());
}

// A reload or a take-over that is asked for while we start, which may take ten seconds, is carried
// out afterwards.
void hold_signals() {
  sigset_t held;
  sigemptyset(&held);
  sigaddset(&held, SIGHUP);
  sigaddset(&held, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &held, nullptr);
}

int check_or_serve(const CommandLine& line, sluice::server::ProcessStart start) {
  if (line.action == CommandLine::Action::run) hold_signals();
  const auto reader = std::make_shared<sluice::Reader>(line);
  Validation valid = reader->start(start.inherited.predecessor != nullptr);
  if (line.action == CommandLine::Action::check) {
    sluice::warn_of_unresolved_names(valid);
    std::fputs(valid.report().c_str(), stdout);
    return valid.valid() ? 0 : exit_configuration;
  }
  // Before there is a log, which would leave out some of many.
  print(valid.mistakes);
  print(valid.conflicts);
  for (const sluice::config::CheckedCluster& cluster : valid.clusters) print(cluster.mistakes);
  if (!valid.mistakes.empty()) {
    refuse(start, valid.mistakes);
    return exit_configuration;
  }
  const auto read = [reader](const sluice::server::ReadRequest& request) {
    return reader->read(request);
  };
  return serve(valid, read, std::move(start));
}

int run(std::span<const char* const> arguments) {
  const CommandLine line = sluice::config::parse(arguments.subspan(1));
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
  const bool asks_who =
      line.action == CommandLine::Action::check && !line.client_certificate.empty();
  if (asks_who) return check_client_certificate(line, sluice::config::system_environment());
  auto start = sluice::server::read_process_start(arguments);
  if (!start) {
    std::fprintf(stderr, "sluice: %s\n", start.error().context.c_str());
    return exit_failure;
  }
  return check_or_serve(line, std::move(*start));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(std::span<const char* const>(argv, static_cast<std::size_t>(argc)));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sluice: %s\n", error.what());
    return exit_failure;
  }
}
