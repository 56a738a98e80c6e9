// SPDX-License-Identifier: GPL-3.0-or-later
// Lines to values. What cannot be a line of ours is told as it is, and nothing is guessed.
#include "sluice/config/configuration_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "flag.h"
#include "sluice/base/ascii.h"
#include "sluice/base/quote.h"

namespace sluice::config {

namespace {

// What editors of some systems put before a text in UTF-8.
constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

// "a.crt" beside "clusters/one.conf" is "clusters/a.crt". No file and standard output stay.
std::string beside(std::string_view file, std::string_view path) {
  const std::size_t slash = file.rfind('/');
  const bool stays = path.empty() || path == "-" || path.starts_with('/');
  if (stays || slash == std::string_view::npos) return std::string(path);
  return std::string(file.substr(0, slash + 1)).append(path);
}

// Whether it is, or may be meant to be, one of those that say whom a cluster is for.
bool is_about_names(std::string_view name) {
  if (find_flag(name) != nullptr) return name == "server-names" || name == "default";
  const std::string near = nearest_flag(name);
  const std::string small = ascii::lowered(name);
  return near == "server-names" || near == "default" || small.contains("server") ||
         small.contains("name") || small.contains("default");
}

class Reader {
 public:
  Reader(const std::string& path, FileOf whose) : place_{path, 0}, whose_(whose) {}

  ConfigurationFile read(std::string_view text) {
    if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
    while (!text.empty()) {
      if (result_.mistakes.size() >= file_mistakes_max) {
        unreadable("there are too many mistakes: what follows was not read.");
        break;
      }
      const std::size_t end = std::min(text.find('\n'), text.size());
      ++place_.line;
      line(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return std::move(result_);
  }

 private:
  void line(std::string_view text) {
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.size() > line_bytes_max) return unreadable("the line is longer than 64KiB.");
    if (text.contains('\0')) return unreadable("the line contains a NUL byte.");
    if (text.contains('\r')) {
      return unreadable("the line contains a carriage return: end lines with a line feed.");
    }
    text = ascii::trim(text);
    if (text.empty() || text.starts_with('#')) return;
    const std::size_t equals = text.find('=');
    const std::string_view name = ascii::trim(text.substr(0, equals));
    if (equals == std::string_view::npos) {
      return mistake(name, fmt::format("{} has no value: write NAME=VALUE.", quote(name)));
    }
    const Flag* flag = find_flag(name);
    if (flag == nullptr) return unknown(name);
    set(*flag, ascii::trim(text.substr(equals + 1)));
  }

  void unknown(std::string_view name) {
    if (name.starts_with("--") && find_flag(name.substr(2)) != nullptr) {
      return mistake(name.substr(2),
                     fmt::format("{}: in a file names have no dashes before them: write {}=VALUE.",
                                 quote(name), name.substr(2)));
    }
    const std::string near = nearest_flag(name);
    mistake(name, fmt::format(
                      "{} is no name of a flag: {}", quote(name),
                      near.empty() ? "see --help for all of them." : "did you mean " + near + "?"));
  }

  void set(const Flag& flag, std::string_view value) {
    if (whose_ == FileOf::cluster && flag.scope == Scope::process) {
      return mistake(flag.name, fmt::format("{} is the process's, one value for all clusters: "
                                            "write it on the command line or into "
                                            "the file of --config.",
                                            flag.name));
    }
    const auto said = result_.layer.places.find(flag.name);
    if (said != result_.layer.places.end() && !flag.is_list()) {
      return mistake(flag.name,
                     fmt::format("{} is given twice, here and in line {}: keep one of them.",
                                 flag.name, said->second.front().line));
    }
    const auto done =
        set_flag(result_.layer, flag,
                 flag.is_path() ? beside(place_.file, value) : std::string(value), place_);
    if (done) return;
    mistake(flag.name, fmt::format("{}={}: {}.", flag.name, quote(value), done.error().context));
  }

  // About a line that might have said anything.
  void unreadable(std::string_view sentence) {
    result_.names_known = false;
    say(sentence);
  }
  void mistake(std::string_view name, std::string_view sentence) {
    if (is_about_names(name)) result_.names_known = false;
    say(sentence);
  }
  void say(std::string_view sentence) {
    result_.mistakes.push_back(
        fmt::format("{}:{}: {}", printable(place_.file), place_.line, sentence));
  }

  Place place_;
  FileOf whose_;
  ConfigurationFile result_;
};

}  // namespace

ConfigurationFile read_configuration(std::string_view text, const std::string& path, FileOf whose) {
  return Reader(path, whose).read(text);
}

}  // namespace sluice::config
