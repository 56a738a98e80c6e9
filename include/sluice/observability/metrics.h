// SPDX-License-Identifier: GPL-3.0-or-later
// Counters, gauges and histograms. They are registered once at start-up, live in cells that one
// thread writes (plain loads and stores, no locked instruction), and are added up when somebody
// scrapes.
//
//   Registry registry;                                         start-up, main thread
//   auto requests = registry.counter("sluice_requests_total", "Requests received.");
//   Cells cells(registry);                                     one per worker, its thread only
//   cells.add(requests);                                       hot path
//   registry.render()                                          any thread, text format 0.0.4
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/base/enumerators.h"
#include "sluice/observability/histogram.h"

namespace sluice::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

struct CounterId {
  std::uint32_t cell = UINT32_MAX;
};
struct GaugeId {
  std::uint32_t cell = UINT32_MAX;
};
struct HistogramId {
  std::uint32_t cell = UINT32_MAX;  // buckets, then the sum
  HistogramLayout layout{};
};

// Counters for all combinations of some labels' values, addressed by the values' positions.
class CounterTable {
 public:
  CounterTable() = default;
  template <class... Index>
  CounterId at(Index... positions) const {
    DCHECK(sizeof...(positions) == sizes_.size());
    std::size_t cell = 0;
    std::size_t dimension = 0;
    ((cell = step(cell, dimension++, static_cast<std::size_t>(positions))), ...);
    return {first_ + static_cast<std::uint32_t>(cell)};
  }

 private:
  friend class Registry;
  std::size_t step(std::size_t cell, std::size_t dimension, std::size_t position) const {
    DCHECK(position < sizes_[dimension]);
    return cell * sizes_[dimension] + position;
  }
  std::uint32_t first_ = 0;
  std::vector<std::size_t> sizes_;
};

struct Dimension {
  std::string label = {};
  std::vector<std::string> values = {};
};

// One whose values are an enumeration's names; CounterTable::at takes its enumerators.
template <class Enum>
Dimension dimension_of(std::string label) {
  return {std::move(label), enumerator_names<Enum>()};
}

class Cells;

struct RegistryOptions {
  Labels labels = {};   // of each of its series
  bool sparse = false;  // counters and histograms are not exposed before they have counted
};

class Registry {
 public:
  explicit Registry(RegistryOptions options = {});
  ~Registry();  // CHECKs that no Cells is left
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Names and labels follow Prometheus' rules (CHECKed). One name may be registered several times
  // with different labels; type and help must be the same. Not after the first Cells exists.
  CounterId counter(std::string_view name, std::string_view help, Labels labels = {});
  GaugeId gauge(std::string_view name, std::string_view help, Labels labels = {});
  HistogramId histogram(std::string_view name, std::string_view help, HistogramLayout layout,
                        Labels labels = {});
  // Combinations that stayed 0 are not exposed when `sparse`. A dimension without values makes
  // none.
  CounterTable counters(std::string_view name, std::string_view help,
                        const std::vector<Dimension>& dimensions, bool sparse = false);
  template <class Enum>
  CounterTable counters_by(std::string_view name, std::string_view help, std::string label) {
    return counters(name, help, {dimension_of<Enum>(std::move(label))});
  }

  // Asked at each scrape, on the scraping thread, in the order of registration.
  void gauge_function(std::string_view name, std::string_view help, std::function<double()> value,
                      Labels labels = {});
  void counter_function(std::string_view name, std::string_view help, std::function<double()> value,
                        Labels labels = {});

  // Prometheus text format. Content-Type: text/plain; version=0.0.4; charset=utf-8
  std::string render() const;
  // That of several, whose names may be the same where labels differ.
  static std::string render(std::span<const Registry* const> registries);

  // Sums over all cells, also of those whose Cells is gone.
  std::uint64_t total(CounterId id) const;
  std::int64_t total(GaugeId id) const;
  Histogram total(const HistogramId& id) const;

 private:
  friend class Cells;
  struct Family;
  Family& family(std::string_view name, std::string_view help, int type);
  std::uint32_t take_cells(std::size_t count);
  std::string label_text(Labels labels) const;
  void append_children(std::string& out, const Family& family) const;
  std::uint64_t sum(std::uint32_t cell) const;
  Histogram sum_histogram(const HistogramId& id) const;
  static void append_histogram(std::string& out, std::string_view name, std::string_view labels,
                               const Histogram& histogram);
  void attach(Cells& cells);
  void detach(Cells& cells);

  const RegistryOptions options_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Family>> families_;
  std::uint32_t cells_ = 0;
  bool frozen_ = false;
  std::vector<Cells*> attached_;
  std::vector<std::uint64_t> retired_;  // what ended threads left; counters and histograms
  std::vector<std::uint8_t> is_gauge_;  // by cell: a gauge of an ended thread is gone with it
};

// The cells of one thread. Created on any thread, written by one.
class Cells {
 public:
  explicit Cells(Registry& registry);
  ~Cells();
  Cells(const Cells&) = delete;
  Cells& operator=(const Cells&) = delete;

  void add(CounterId id, std::uint64_t n = 1) { bump(id.cell, n); }
  // Takes over a total that a lower layer counts for itself; never lower than before.
  void publish(CounterId id, std::uint64_t total) {
    cells_[id.cell].store(total, std::memory_order_relaxed);
  }
  void add(GaugeId id, std::int64_t n) { bump(id.cell, static_cast<std::uint64_t>(n)); }
  void set(GaugeId id, std::int64_t value) {
    cells_[id.cell].store(static_cast<std::uint64_t>(value), std::memory_order_relaxed);
  }
  void observe(const HistogramId& id, std::uint64_t value) {
    bump(id.cell + static_cast<std::uint32_t>(id.layout.index(value)), 1);
    bump(id.cell + static_cast<std::uint32_t>(id.layout.buckets()), value);
  }

 private:
  friend class Registry;
  struct Release {
    void operator()(std::atomic<std::uint64_t>* cells) const;
  };
  // One writer: a load and a store instead of a locked addition.
  void bump(std::uint32_t cell, std::uint64_t n) {
    DCHECK(cell < size_);
    auto& target = cells_[cell];
    target.store(target.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  Registry& registry_;
  std::size_t size_;
  std::unique_ptr<std::atomic<std::uint64_t>[], Release> cells_;  // whole lines of the cache
};

}  // namespace sluice::metrics
