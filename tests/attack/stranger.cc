// SPDX-License-Identifier: GPL-3.0-or-later
// Carries out one attack from one address for some seconds, and prints what it did as one line of
// JSON. With --harmless it keeps as many connections, asks for something ordinary a hundred times a
// second, and otherwise burns as much CPU time as it is told that the attack took.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include <CLI/CLI.hpp>

#include "strangers.h"

namespace sluice::attack {
namespace {

struct Options {
  std::string attack;
  std::string target;
  std::string certificates;
  std::string source = "127.0.0.3";
  double seconds = 5;
  double burn = 0;
  bool harmless = false;
  bool tokens_only = false;
  bool list = false;
};

// More of them say nothing more about CPU time, and memory is measured beside.
constexpr std::size_t harmless_connections_max = 300;

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void allow_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::unique_ptr<Stranger> harmless(Field& field, const Attack& attack) {
  Asking ordinary;
  ordinary.destination = field.destination();
  ordinary.connections = std::min(attack.connections, harmless_connections_max);
  ordinary.at_once = 1;
  ordinary.per_second = 100;
  ordinary.next = [](std::uint64_t) {
    return Request{.path = "/api/v1/namespaces/bench/configmaps/kb-1", .token = "token-mallory"};
  };
  return keep_asking(field, std::move(ordinary));
}

int run(const Options& options) {
  const auto attack = std::ranges::find(attacks(), options.attack, &Attack::name);
  if (attack == attacks().end()) give_up("there is no such attack: " + options.attack);
  const auto target = io::Address::parse(options.target);
  if (!target) give_up(target.error().context);
  allow_descriptors();
  Loop loop;
  const Credentials credentials(options.certificates, options.tokens_only);
  Field field{loop, credentials, *target, options.source};
  const auto stranger = options.harmless ? harmless(field, *attack) : attack->make(field);
  const double cpu_before = cpu_seconds();
  const Clock::time_point began = Clock::now();
  const auto passed = [began] {
    return std::chrono::duration<double>(Clock::now() - began).count();
  };
  while (passed() < options.seconds) {
    const bool busy = stranger->act();
    const bool burns = cpu_seconds() - cpu_before < options.burn * passed();
    loop.turn(busy || burns ? Clock::now() : Clock::now() + 1ms);
    if (!burns) continue;
    for (const Clock::time_point end = Clock::now() + 200us; Clock::now() < end;) {
    }
  }
  const Tally& tally = field.tally;
  fmt::print(
      R"({{"attack":"{}","harmless":{},"connections":{},"cut":{},"requests":{},"answers":{},"refused":{},"bytes":{},"cpu":{:.3f}}})"
      "\n",
      options.attack, options.harmless, tally.connections, tally.cut, tally.requests, tally.answers,
      tally.refused, tally.bytes, (cpu_seconds() - cpu_before) / passed());
  return 0;
}

}  // namespace
}  // namespace sluice::attack

int main(int argc, char** argv) {
  using namespace sluice::attack;
  Options options;
  CLI::App app("A hostile client; see tests/attack/run.");
  app.add_option("attack", options.attack, "Its name; see --list");
  app.add_option("--target", options.target, "The proxy, ADDR:PORT");
  app.add_option("--certificates", options.certificates, "As apisim makes them");
  app.add_option("--source", options.source, "The address that it comes from");
  app.add_option("--seconds", options.seconds, "How long");
  app.add_flag("--harmless", options.harmless, "Ordinary requests in its place");
  app.add_option("--burn", options.burn, "With --harmless: the share of a core to burn");
  app.add_flag("--tokens-only", options.tokens_only, "Tokens in place of certificates");
  app.add_flag("--list", options.list, "Print the attacks, and end");
  CLI11_PARSE(app, argc, argv);
  if (options.list) {
    for (const Attack& attack : attacks()) fmt::print("{}\t{}\n", attack.name, attack.what);
    return 0;
  }
  return run(options);
}
