// SPDX-License-Identifier: GPL-3.0-or-later
// One process for each command, with files for its input and output.
#include "oracle.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "sluice/base/ascii.h"

extern char** environ;

namespace sluice::test {

Oracle::Oracle(std::string program)
    : program_(std::move(program)), folder_("/tmp/sluice-oracle-XXXXXX") {
  if (::mkdtemp(folder_.data()) == nullptr) give_up("no temporary directory");
}

Oracle::~Oracle() {
  for (const std::string& file : {questions(), answers()}) ::unlink(file.c_str());
  ::rmdir(folder_.c_str());
}

void Oracle::make_questions(const std::string& command, std::uint64_t count,
                            std::uint64_t seed) const {
  run({command, std::to_string(count), std::to_string(seed)}, "/dev/null", questions());
}

void Oracle::run(std::vector<std::string> arguments, const std::string& in,
                 const std::string& out) const {
  arguments.insert(arguments.begin(), program_);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, in.c_str(), O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t pid = 0;
  if (::posix_spawn(&pid, program_.c_str(), &actions, nullptr, argv.data(), environ) != 0) {
    give_up("cannot start " + program_);
  }
  ::posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || status != 0) give_up("the oracle failed");
}

void Oracle::give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(2);
}

std::vector<std::string_view> split(std::string_view line, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = line.find(separator);
    parts.push_back(line.substr(0, at));
    if (at == std::string_view::npos) return parts;
    line.remove_prefix(at + 1);
  }
}

std::vector<std::uint8_t> from_hex(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const int byte = ascii::hex_value(text[i]) * 16 + ascii::hex_value(text[i + 1]);
    if (byte < 0) Oracle::give_up("the oracle wrote something else than bytes");
    bytes.push_back(static_cast<std::uint8_t>(byte));
  }
  return bytes;
}

}  // namespace sluice::test
