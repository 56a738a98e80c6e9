// SPDX-License-Identifier: GPL-3.0-or-later
// Asks the program of tests/kubernetes/oracle, which is made of an API server's own code: a file of
// questions in, an answer to each out, a line each. Whatever goes wrong ends this program.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::test {

class Oracle {
 public:
  explicit Oracle(std::string program);
  ~Oracle();  // with its files
  Oracle(const Oracle&) = delete;
  Oracle& operator=(const Oracle&) = delete;

  // Where questions go that are not its own.
  std::string questions() const { return folder_ + "/questions"; }
  // Has it make `count` questions of a kind; equal seeds make equal ones, as far as signatures are.
  void make_questions(const std::string& command, std::uint64_t count, std::uint64_t seed) const;

  // Calls f(question, answer) for each of them; how many there were.
  template <class F>
  std::uint64_t ask(const std::string& command, F&& f) const {
    run({command}, questions(), answers());
    std::ifstream asked(questions());
    std::ifstream answered(answers());
    std::string question;
    std::string answer;
    std::uint64_t count = 0;
    for (; std::getline(asked, question); ++count) {
      if (!std::getline(answered, answer)) give_up("the oracle answered too few lines");
      f(question, answer);
    }
    return count;
  }

  [[noreturn]] static void give_up(const std::string& why);

 private:
  std::string answers() const { return folder_ + "/answers"; }
  void run(std::vector<std::string> arguments, const std::string& in, const std::string& out) const;

  std::string program_;
  std::string folder_;
};

// What its lines are made of.
std::vector<std::string_view> split(std::string_view line, char separator);
std::vector<std::uint8_t> from_hex(std::string_view text);

}  // namespace sluice::test
