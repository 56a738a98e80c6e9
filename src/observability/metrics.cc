// SPDX-License-Identifier: GPL-3.0-or-later
// Families and their text. A cell is one 64-bit word in each thread's Cells.
#include "sluice/observability/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <new>
#include <optional>
#include <unordered_map>
#include <utility>

#include "sluice/base/ascii.h"
#include "sluice/observability/escape.h"

namespace sluice::metrics {

namespace {

enum Type : int { counter_type, gauge_type, histogram_type };

std::string_view type_name(int type) {
  switch (type) {
    case counter_type: return "counter";
    case gauge_type: return "gauge";
    default: return "histogram";
  }
}

// [a-zA-Z_][a-zA-Z0-9_]*; colons are for recording rules.
bool valid_name(std::string_view name) {
  if (name.empty() || ascii::is_digit(name[0])) return false;
  return std::ranges::all_of(name, [](char c) { return ascii::is_alphanumeric(c) || c == '_'; });
}

// `a="1",b="2"`, without braces.
std::string text_of(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    CHECK(valid_name(name) && !name.starts_with("__") && name != "le");
    if (!text.empty()) text += ',';
    text += name;
    text += "=\"";
    observability::append_label_value(text, value);
    text += '"';
  }
  return text;
}

void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    fmt::format_to(std::back_inserter(out), "{}", value);
  }
}

// "seconds(1e-9)" of 1024 is 1.024e-06: 12 digits hide what binary fractions add.
std::string bound_text(double bound) { return fmt::format("{:.12g}", bound); }

void append_sample_head(std::string& out, std::string_view name, std::string_view suffix,
                        std::string_view labels, std::string_view extra = {}) {
  out += name;
  out += suffix;
  if (!labels.empty() || !extra.empty()) {
    out += '{';
    out += labels;
    if (!labels.empty() && !extra.empty()) out += ',';
    out += extra;
    out += '}';
  }
  out += ' ';
}

}  // namespace

struct Registry::Family {
  struct Child {
    std::string labels;
    std::uint32_t cell = UINT32_MAX;
    bool sparse = false;
    std::optional<HistogramLayout> layout;
    std::function<double()> value;
  };
  std::string name;
  std::string help;
  int type = counter_type;
  std::vector<Child> children;

  void add(Child child) {
    for (const Child& other : children) CHECK(other.labels != child.labels);
    children.push_back(std::move(child));
  }
};

Registry::Registry(RegistryOptions options) : options_(std::move(options)) {}

Registry::~Registry() { CHECK(attached_.empty()); }

Registry::Family& Registry::family(std::string_view name, std::string_view help, int type) {
  CHECK(!frozen_);
  CHECK(valid_name(name));
  for (const auto& known : families_) {
    if (known->name != name) continue;
    CHECK_EQ(known->type, type);
    CHECK(known->help == help);
    return *known;
  }
  auto added = std::make_unique<Family>();
  added->name = name;
  added->help = help;
  added->type = type;
  families_.push_back(std::move(added));
  return *families_.back();
}

std::string Registry::label_text(Labels labels) const {
  labels.insert(labels.begin(), options_.labels.begin(), options_.labels.end());
  return text_of(labels);
}

std::uint32_t Registry::take_cells(std::size_t count) {
  const std::uint32_t first = cells_;
  CHECK_LE(count, std::size_t{1} << 24);
  cells_ += static_cast<std::uint32_t>(count);
  is_gauge_.resize(cells_, 0);
  return first;
}

CounterId Registry::counter(std::string_view name, std::string_view help, Labels labels) {
  const std::lock_guard lock(mutex_);
  Family& of = family(name, help, counter_type);
  const std::uint32_t cell = take_cells(1);
  of.add({.labels = label_text(std::move(labels)),
          .cell = cell,
          .sparse = options_.sparse,
          .layout = {},
          .value = {}});
  return {cell};
}

GaugeId Registry::gauge(std::string_view name, std::string_view help, Labels labels) {
  const std::lock_guard lock(mutex_);
  Family& of = family(name, help, gauge_type);
  const std::uint32_t cell = take_cells(1);
  is_gauge_[cell] = 1;
  of.add({.labels = label_text(std::move(labels)),
          .cell = cell,
          .sparse = false,
          .layout = {},
          .value = {}});
  return {cell};
}

HistogramId Registry::histogram(std::string_view name, std::string_view help,
                                HistogramLayout layout, Labels labels) {
  const std::lock_guard lock(mutex_);
  const Histogram valid(layout);  // CHECKs the layout
  Family& of = family(name, help, histogram_type);
  const std::uint32_t cell = take_cells(layout.buckets() + 1);
  of.add({.labels = label_text(std::move(labels)),
          .cell = cell,
          .sparse = options_.sparse,
          .layout = layout,
          .value = {}});
  return {cell, layout};
}

CounterTable Registry::counters(std::string_view name, std::string_view help,
                                const std::vector<Dimension>& dimensions, bool sparse) {
  const std::lock_guard lock(mutex_);
  Family& of = family(name, help, counter_type);
  std::size_t cells = 1;
  CounterTable table;
  for (const Dimension& dimension : dimensions) {
    cells *= dimension.values.size();
    table.sizes_.push_back(dimension.values.size());
  }
  table.first_ = take_cells(cells);
  for (std::size_t cell = 0; cell < cells; ++cell) {
    Labels labels(dimensions.size());
    std::size_t rest = cell;
    for (std::size_t d = dimensions.size(); d-- > 0;) {
      const auto& values = dimensions[d].values;
      labels[d] = {dimensions[d].label, values[rest % values.size()]};
      rest /= values.size();
    }
    of.add({.labels = label_text(std::move(labels)),
            .cell = table.first_ + static_cast<std::uint32_t>(cell),
            .sparse = sparse || options_.sparse,
            .layout = {},
            .value = {}});
  }
  return table;
}

void Registry::gauge_function(std::string_view name, std::string_view help,
                              std::function<double()> value, Labels labels) {
  const std::lock_guard lock(mutex_);
  family(name, help, gauge_type)
      .add({.labels = label_text(std::move(labels)),
            .cell = 0,
            .sparse = false,
            .layout = {},
            .value = std::move(value)});
}

void Registry::counter_function(std::string_view name, std::string_view help,
                                std::function<double()> value, Labels labels) {
  const std::lock_guard lock(mutex_);
  family(name, help, counter_type)
      .add({.labels = label_text(std::move(labels)),
            .cell = 0,
            .sparse = false,
            .layout = {},
            .value = std::move(value)});
}

void Registry::attach(Cells& cells) {
  const std::lock_guard lock(mutex_);
  frozen_ = true;
  retired_.resize(cells_, 0);
  attached_.push_back(&cells);
}

void Registry::detach(Cells& cells) {
  const std::lock_guard lock(mutex_);
  for (std::uint32_t cell = 0; cell < cells_; ++cell) {
    if (is_gauge_[cell] == 0) retired_[cell] += cells.cells_[cell].load(std::memory_order_relaxed);
  }
  std::erase(attached_, &cells);
}

// Additions wrap, so that one thread's gauge may be negative while the sum is not.
std::uint64_t Registry::sum(std::uint32_t cell) const {
  CHECK_LT(cell, cells_);
  std::uint64_t sum = retired_.empty() ? 0 : retired_[cell];
  for (const Cells* cells : attached_) sum += cells->cells_[cell].load(std::memory_order_relaxed);
  return sum;
}

std::uint64_t Registry::total(CounterId id) const {
  const std::lock_guard lock(mutex_);
  return sum(id.cell);
}

std::int64_t Registry::total(GaugeId id) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::int64_t>(sum(id.cell));
}

Histogram Registry::total(const HistogramId& id) const {
  const std::lock_guard lock(mutex_);
  return sum_histogram(id);
}

Histogram Registry::sum_histogram(const HistogramId& id) const {
  Histogram total(id.layout);
  const std::size_t buckets = id.layout.buckets();
  for (std::size_t i = 0; i < buckets; ++i) {
    total.add_bucket(i, sum(id.cell + static_cast<std::uint32_t>(i)));
  }
  total.add_sum(sum(id.cell + static_cast<std::uint32_t>(buckets)));
  return total;
}

std::string Registry::render() const {
  const Registry* const only[] = {this};
  return render(only);
}

std::string Registry::render(std::span<const Registry* const> registries) {
  struct Part {
    const Registry* registry;
    const Family* family;
  };
  // Each name once, where it comes first.
  std::vector<std::vector<Part>> names;
  std::unordered_map<std::string_view, std::size_t> places;
  for (const Registry* registry : registries) {
    const std::lock_guard lock(registry->mutex_);
    for (const auto& family : registry->families_) {
      const auto [place, added] = places.try_emplace(family->name, names.size());
      if (added) names.emplace_back();
      names[place->second].push_back({registry, family.get()});
    }
  }
  std::string out;
  out.reserve(16 * 1024);
  for (const std::vector<Part>& parts : names) {
    const Family& first = *parts.front().family;
    std::string children;
    for (const Part& part : parts) part.registry->append_children(children, *part.family);
    if (children.empty() && parts.front().registry->options_.sparse) continue;
    out += "# HELP " + first.name + ' ';
    observability::append_help(out, first.help);
    out += "\n# TYPE " + first.name + ' ';
    out += type_name(first.type);
    out += '\n' + children;
  }
  return out;
}

void Registry::append_children(std::string& out, const Family& family) const {
  const std::lock_guard lock(mutex_);
  for (const Family::Child& child : family.children) {
    if (child.layout) {
      const Histogram histogram = sum_histogram({.cell = child.cell, .layout = *child.layout});
      if (child.sparse && histogram.count() == 0) continue;
      append_histogram(out, family.name, child.labels, histogram);
    } else if (child.value) {
      append_sample_head(out, family.name, "", child.labels);
      append_number(out, child.value());
      out += '\n';
    } else {
      const std::uint64_t value = sum(child.cell);
      if (child.sparse && value == 0) continue;
      append_sample_head(out, family.name, "", child.labels);
      if (family.type == gauge_type) {
        fmt::format_to(std::back_inserter(out), "{}\n", static_cast<std::int64_t>(value));
      } else {
        fmt::format_to(std::back_inserter(out), "{}\n", value);
      }
    }
  }
}

// One line for each power of two: the finer steps are for quantiles, not for the wire.
void Registry::append_histogram(std::string& out, std::string_view name, std::string_view labels,
                                const Histogram& histogram) {
  const HistogramLayout& layout = histogram.layout();
  const std::size_t steps = std::size_t{1} << layout.step_bits;
  std::uint64_t below = 0;
  for (std::size_t i = 0; i + 1 < layout.buckets(); ++i) {
    below += histogram.bucket(i);
    if (i % steps != 0) continue;
    const double bound = static_cast<double>(layout.upper(i)) * layout.unit;
    append_sample_head(out, name, "_bucket", labels, "le=\"" + bound_text(bound) + '"');
    fmt::format_to(std::back_inserter(out), "{}\n", below);
  }
  append_sample_head(out, name, "_bucket", labels, "le=\"+Inf\"");
  fmt::format_to(std::back_inserter(out), "{}\n", histogram.count());
  append_sample_head(out, name, "_sum", labels);
  append_number(out, static_cast<double>(histogram.sum()) * layout.unit);
  out += '\n';
  append_sample_head(out, name, "_count", labels);
  fmt::format_to(std::back_inserter(out), "{}\n", histogram.count());
}

void Cells::Release::operator()(std::atomic<std::uint64_t>* cells) const {
  ::operator delete[](cells, std::align_val_t{64});
}

Cells::Cells(Registry& registry) : registry_(registry) {
  {
    const std::lock_guard lock(registry.mutex_);
    size_ = registry.cells_;
  }
  // Whole lines of the cache, so that no other thread's cells share one with ours.
  const std::size_t rounded = (std::max<std::size_t>(size_, 1) + 7) / 8 * 8;
  auto* memory = static_cast<std::atomic<std::uint64_t>*>(
      ::operator new[](rounded * sizeof(std::atomic<std::uint64_t>), std::align_val_t{64}));
  for (std::size_t i = 0; i < rounded; ++i) std::construct_at(memory + i, 0u);
  cells_.reset(memory);
  registry_.attach(*this);
}

Cells::~Cells() { registry_.detach(*this); }

}  // namespace sluice::metrics
