// SPDX-License-Identifier: GPL-3.0-or-later
// All flags at once: for people, for tests, for logs.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "flag.h"
#include "sluice/config/flags.h"

namespace sluice::config {

namespace {

// Appends `text` in lines of at most 100 columns, each behind `indent` blanks.
void append_wrapped(std::string& out, std::string_view text, std::size_t indent) {
  constexpr std::size_t columns = 100;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::size_t blank = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, blank);
    if (column != 0 && column + 1 + word.size() > columns) {
      out += '\n';
      column = 0;
    }
    if (column == 0) {
      out.append(indent, ' ');
      column = indent;
    } else {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    text.remove_prefix(std::min(blank + 1, text.size()));
  }
  out += '\n';
}

}  // namespace

std::string_view to_string(Scope scope) {
  switch (scope) {
    case Scope::process: return "process";
    case Scope::cluster: return "cluster";
    case Scope::both: return "both";
    case Scope::each: return "each";
  }
  return "";
}

std::string help_text() {
  std::string out =
      "sluice stands in front of the API servers of a Kubernetes cluster and gives every HTTP/2 "
      "stream\n"
      "a backend of its own.\n\n"
      "  sluice --tls-cert-file=FILE --tls-private-key-file=FILE \\\n"
      "         --backend=ADDR:PORT [--backend=ADDR:PORT ...] --backend-ca-file=FILE [flags]\n\n"
      "Durations are written like 1m30s or 500ms, sizes like 65536 or 64KiB, lists with commas or "
      "by\n"
      "repeating the flag. [process]: one value for all clusters. [cluster]: each cluster has its "
      "own, and\n"
      "never another's. [both]: what is set for the process counts for clusters without a value of "
      "their\n"
      "own. [each]: the process and a cluster may have their own, and take nobody's.\n";
  const Config defaults;
  for (const Group& group : flag_table()) {
    fmt::format_to(std::back_inserter(out), "\n{}:\n", group.title);
    for (const Flag& flag : group.flags) {
      fmt::format_to(std::back_inserter(out), "  --{}{}{}", flag.name,
                     flag.value.empty() ? "" : " ", flag.value);
      const std::string value = print_flag(defaults, flag);
      if (!value.empty() && (!flag.value.empty() || value == "true")) {
        fmt::format_to(std::back_inserter(out), "  (default {})", value);
      }
      fmt::format_to(std::back_inserter(out), "  [{}]\n", to_string(flag.scope));
      append_wrapped(out, flag.help, 6);
    }
  }
  out +=
      "\nFiles:\n"
      "  --config FILE\n      Flags from a file, one NAME=VALUE a line, without dashes; # begins a "
      "comment. Paths in it are\n      relative to it. What the command line says takes the place "
      "of what the file says.\n"
      "\nWhat to do:\n"
      "  --check\n      Check everything, files included, say what is wrong, and end: 0 when it is "
      "valid, else 2.\n"
      "  --check-client-cert-file FILE\n      Say who the client with this PEM certificate would "
      "be, "
      "and end: 0 with an identity, else 2\n      and why. Needs only --client-ca-file.\n"
      "  --version\n      Versions of sluice and its libraries, and whether cryptography is "
      "accelerated.\n"
      "  --help, -h\n      This text.\n";
  return out;
}

std::vector<FlagRow> flag_rows() {
  using Kind = FlagRow::Kind;
  // In the order of the variant's types.
  constexpr std::array kinds = {Kind::toggle, Kind::text,   Kind::list,   Kind::duration,
                                Kind::count,  Kind::size,   Kind::choice, Kind::choice,
                                Kind::choice, Kind::choice, Kind::choice};
  static_assert(kinds.size() == std::variant_size_v<Field>);
  const Config defaults;
  std::vector<FlagRow> rows;
  for (const Group& group : flag_table()) {
    for (const Flag& flag : group.flags) {
      rows.push_back({flag.name, flag.scope, kinds[flag.field.index()], print_flag(defaults, flag),
                      print_bound(flag, flag.bounds.low), print_bound(flag, flag.bounds.high)});
    }
  }
  return rows;
}

std::vector<std::string> describe(const Config& config) {
  std::vector<std::string> lines;
  for (const Group& group : flag_table()) {
    for (const Flag& flag : group.flags) {
      lines.push_back(fmt::format("--{}={}", flag.name, print_flag(config, flag)));
    }
  }
  return lines;
}

}  // namespace sluice::config
