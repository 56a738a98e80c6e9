// SPDX-License-Identifier: GPL-3.0-or-later
// The command line. The parser is our own: a user who made three mistakes should hear of three, in
// our words, and it is short.
#include <fmt/format.h>

#include <optional>

#include "flag.h"
#include "sluice/base/quote.h"
#include "sluice/config/flags.h"

namespace sluice::config {

namespace {

class Parser {
 public:
  explicit Parser(std::span<const std::string_view> arguments) : arguments_(arguments) {}

  CommandLine parse() {
    while (next_ < arguments_.size()) argument(arguments_[next_++]);
    return std::move(result_);
  }

 private:
  void argument(std::string_view text) {
    if (text == "-h") return act(CommandLine::Action::help);
    if (!text.starts_with("--") || text == "--") {
      return mistake(
          fmt::format("{} is not a flag: write --NAME=VALUE, and see --help.", quote(text)));
    }
    text.remove_prefix(2);
    const std::size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    std::optional<std::string_view> value;
    if (equals != std::string_view::npos) value = text.substr(equals + 1);
    if (name == "config") return file(name, value, result_.config_file);
    if (name == "check-client-cert-file") {
      file(name, value, result_.client_certificate);
      return act(CommandLine::Action::check);
    }
    if (action(name, value)) return;
    const Flag* flag = find_flag(name);
    if (flag == nullptr) return unknown(name, value.has_value());
    if (!value) value = separate_value(*flag);
    if (!value)
      return mistake(fmt::format("--{} needs a value: write --{}={}.", name, name, flag->value));
    set(*flag, *value);
  }

  // --help, --version and --check are what to do, not what to be.
  bool action(std::string_view name, std::optional<std::string_view> value) {
    CommandLine::Action what{};
    if (name == "help") {
      what = CommandLine::Action::help;
    } else if (name == "version") {
      what = CommandLine::Action::version;
    } else if (name == "check") {
      what = CommandLine::Action::check;
    } else {
      return false;
    }
    if (value) {
      mistake(fmt::format("--{} takes no value: write --{} alone.", name, name));
    } else {
      act(what);
    }
    return true;
  }

  // A file that is no value of the configuration.
  void file(std::string_view name, std::optional<std::string_view> value, std::string& path) {
    if (!value && next_ < arguments_.size() && !arguments_[next_].starts_with("--")) {
      value = arguments_[next_++];
    }
    if (!value || value->empty()) {
      return mistake(fmt::format("--{} needs a value: write --{}=FILE.", name, name));
    }
    if (!path.empty()) return mistake(fmt::format("--{} is given twice: keep one of them.", name));
    path = *value;
  }

  // Help wins over version, version over check.
  void act(CommandLine::Action what) {
    const auto rank = [](CommandLine::Action action) {
      switch (action) {
        case CommandLine::Action::run: return 0;
        case CommandLine::Action::check: return 1;
        case CommandLine::Action::version: return 2;
        case CommandLine::Action::help: return 3;
      }
      return 0;
    };
    if (rank(what) > rank(result_.action)) result_.action = what;
  }

  std::optional<std::string_view> separate_value(const Flag& flag) {
    if (flag.value.empty()) return "true";
    if (next_ == arguments_.size() || arguments_[next_].starts_with("--")) return std::nullopt;
    return arguments_[next_++];
  }

  void unknown(std::string_view name, bool has_value) {
    const std::string near = nearest_flag(name);
    mistake(
        fmt::format("{} is not a flag of sluice: {}", quote("--" + std::string(name)),
                    near.empty() ? "see --help for all of them." : "did you mean --" + near + "?"));
    // Its value is no second mistake.
    const bool value_follows =
        !has_value && next_ < arguments_.size() && !arguments_[next_].starts_with("-");
    if (value_follows) ++next_;
  }

  void set(const Flag& flag, std::string_view value) {
    if (!flag.is_list() && result_.places.contains(flag.name)) {
      return mistake(fmt::format("--{} is given twice, the second time as {}: keep one of them.",
                                 flag.name, quote(value)));
    }
    const auto done = set_flag(result_, flag, value, Place{});
    if (!done) mistake(fmt::format("--{}={}: {}.", flag.name, quote(value), done.error().context));
  }

  void mistake(std::string sentence) { result_.mistakes.push_back(std::move(sentence)); }

  std::span<const std::string_view> arguments_;
  std::size_t next_ = 0;
  CommandLine result_;
};

}  // namespace

CommandLine parse(std::span<const std::string_view> arguments) { return Parser(arguments).parse(); }

CommandLine parse(std::span<const char* const> arguments) {
  const std::vector<std::string_view> views(arguments.begin(), arguments.end());
  return parse(std::span<const std::string_view>(views));
}

}  // namespace sluice::config
