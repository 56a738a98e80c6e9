// SPDX-License-Identifier: GPL-3.0-or-later
// Values of flags as text, by the type of their field.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "flag.h"
#include "sluice/base/check.h"
#include "sluice/config/flags.h"

namespace sluice::config {

namespace {

// Commas separate, as in kube-apiserver's lists.
Result<std::vector<std::string>> parse_list(std::string_view text) {
  std::vector<std::string> list;
  if (text.empty()) return list;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view element = text.substr(0, comma);
    if (element.empty())
      return fail(ErrorKind::invalid_argument, "an element of the list is empty");
    list.emplace_back(element);
    if (comma == std::string_view::npos) return list;
    text.remove_prefix(comma + 1);
  }
}

Result<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorKind::invalid_argument, "write a whole number");
  }
  return value;
}

Result<void> check_bounds(std::uint64_t value, const Bounds& bounds,
                          std::string (*print)(std::uint64_t)) {
  if (value >= bounds.low && value <= bounds.high) return {};
  return fail(ErrorKind::invalid_argument,
              fmt::format("it must be from {} to {}", print(bounds.low), print(bounds.high)));
}

std::string print_count(std::uint64_t value) { return fmt::format("{}", value); }
std::string print_duration(std::uint64_t value) {
  return format_duration(Duration(static_cast<Duration::rep>(value)));
}

std::string_view print_mode(Mode value) {
  switch (value) {
    case Mode::automatic: return "auto";
    case Mode::l7: return "l7";
    case Mode::l4: return "l4";
  }
  return "";
}

std::string_view print_default(DefaultFor value) {
  switch (value) {
    case DefaultFor::nobody: return "false";
    case DefaultFor::unnamed: return "true";
    case DefaultFor::unknown: return "unknown";
  }
  return "";
}

// Puts a flag's value into the configuration; the error is the remedy.
class Setter {
 public:
  Setter(Config& config, const Flag& flag, std::string_view text, bool first)
      : config_(config), flag_(flag), text_(text), first_(first) {}

  Result<void> operator()(bool Config::* field) const {
    if (text_ != "true" && text_ != "false") {
      return fail(ErrorKind::invalid_argument, "it is a switch: write true, false or nothing");
    }
    config_.*field = text_ == "true";
    return {};
  }
  Result<void> operator()(std::string Config::* field) const {
    if (text_.find('\0') != std::string_view::npos) {
      return fail(ErrorKind::invalid_argument, "it contains a NUL byte");
    }
    config_.*field = text_;
    return {};
  }
  Result<void> operator()(std::vector<std::string> Config::* field) const {
    auto list = parse_list(text_);
    if (!list) return std::unexpected(list.error());
    // The first one replaces the default.
    if (first_) (config_.*field).clear();
    for (std::string& element : *list) (config_.*field).push_back(std::move(element));
    return {};
  }
  Result<void> operator()(Duration Config::* field) const {
    const auto duration = parse_duration(text_);
    if (!duration) return std::unexpected(duration.error());
    config_.*field = *duration;
    return check_bounds(nanoseconds(*duration), flag_.bounds, print_duration);
  }
  Result<void> operator()(std::uint32_t Config::* field) const {
    const auto number = parse_count(text_);
    if (!number) return std::unexpected(number.error());
    DCHECK(flag_.bounds.high <= UINT32_MAX);
    config_.*field = static_cast<std::uint32_t>(*number);
    return check_bounds(*number, flag_.bounds, print_count);
  }
  Result<void> operator()(std::uint64_t Config::* field) const {
    const auto size = parse_size(text_);
    if (!size) return std::unexpected(size.error());
    config_.*field = *size;
    return check_bounds(*size, flag_.bounds, format_size);
  }
  Result<void> operator()(balance::Policy Config::* field) const {
    const auto policy = balance::policy_from(text_);
    if (!policy) {
      return fail(ErrorKind::invalid_argument, "write power-of-two, least, random or round-robin");
    }
    config_.*field = *policy;
    return {};
  }
  Result<void> operator()(log::Level Config::* field) const {
    const auto level = log::level_from(text_);
    if (!level) return fail(ErrorKind::invalid_argument, "write error, warning, info or debug");
    config_.*field = *level;
    return {};
  }
  Result<void> operator()(DefaultFor Config::* field) const {
    for (const DefaultFor value : {DefaultFor::nobody, DefaultFor::unnamed, DefaultFor::unknown}) {
      if (text_ != print_default(value)) continue;
      config_.*field = value;
      return {};
    }
    return fail(ErrorKind::invalid_argument, "write true, unknown or false");
  }
  Result<void> operator()(tls::Version Config::* field) const {
    if (text_ == "1.2" || text_ == "VersionTLS12") {
      config_.*field = tls::Version::tls1_2;
    } else if (text_ == "1.3" || text_ == "VersionTLS13") {
      config_.*field = tls::Version::tls1_3;
    } else {
      return fail(ErrorKind::invalid_argument, "write 1.2 or 1.3");
    }
    return {};
  }
  Result<void> operator()(Mode Config::* field) const {
    for (const Mode value : {Mode::automatic, Mode::l7, Mode::l4}) {
      if (text_ != print_mode(value)) continue;
      config_.*field = value;
      return {};
    }
    return fail(ErrorKind::invalid_argument, "write l7, l4 or auto");
  }

 private:
  Config& config_;
  const Flag& flag_;
  std::string_view text_;
  bool first_;
};

std::string join(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& element : list) {
    if (!text.empty()) text += ',';
    text += element;
  }
  return text;
}

struct Printer {
  const Config& config;
  std::string operator()(bool Config::* field) const { return config.*field ? "true" : "false"; }
  std::string operator()(std::string Config::* field) const { return config.*field; }
  std::string operator()(std::vector<std::string> Config::* field) const {
    return join(config.*field);
  }
  std::string operator()(Duration Config::* field) const { return format_duration(config.*field); }
  std::string operator()(std::uint32_t Config::* field) const { return print_count(config.*field); }
  std::string operator()(std::uint64_t Config::* field) const { return format_size(config.*field); }
  std::string operator()(balance::Policy Config::* field) const {
    return std::string(balance::to_string(config.*field));
  }
  std::string operator()(log::Level Config::* field) const {
    return std::string(log::to_string(config.*field));
  }
  std::string operator()(DefaultFor Config::* field) const {
    return std::string(print_default(config.*field));
  }
  std::string operator()(Mode Config::* field) const {
    return std::string(print_mode(config.*field));
  }
  std::string operator()(tls::Version Config::* field) const {
    return config.*field == tls::Version::tls1_3 ? "1.3" : "1.2";
  }
};

}  // namespace

Result<void> set_flag(Layer& layer, const Flag& flag, std::string_view text, const Place& place) {
  const auto [said, first] = layer.places.try_emplace(flag.name);
  auto done = std::visit(Setter(layer.config, flag, text, first), flag.field);
  std::size_t elements = 1;
  if (const auto* list = std::get_if<std::vector<std::string> Config::*>(&flag.field)) {
    elements = std::max(elements, (layer.config.**list).size());
  }
  said->second.resize(elements, place);
  return done;
}

void overlay(Layer& under, const Layer& over, bool (*counts)(const Flag& flag)) {
  for (const auto& [name, places] : over.places) {
    const Flag* flag = find_flag(name);
    CHECK(flag != nullptr);
    if (!counts(*flag)) continue;
    std::visit([&](auto field) { under.config.*field = over.config.*field; }, flag->field);
    under.places[name] = places;
  }
}

std::string print_flag(const Config& config, const Flag& flag) {
  return std::visit(Printer{config}, flag.field);
}

std::string print_bound(const Flag& flag, std::uint64_t bound) {
  if (std::holds_alternative<Duration Config::*>(flag.field)) return print_duration(bound);
  if (std::holds_alternative<std::uint32_t Config::*>(flag.field)) return print_count(bound);
  if (std::holds_alternative<std::uint64_t Config::*>(flag.field)) return format_size(bound);
  return "";
}

}  // namespace sluice::config
