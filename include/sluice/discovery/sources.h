// SPDX-License-Identifier: GPL-3.0-or-later
// Where the API servers of one cluster are, from all who say so: the one place at which fixed
// addresses, names and a file become one list. Pure: what is learnt goes in, with its time, and a
// complete list comes out, which is never empty once it was not, as long as anything is configured.
//
// Thread: one; the control thread's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sluice/backend/endpoint.h"
#include "sluice/base/time.h"
#include "sluice/discovery/name_state.h"
#include "sluice/discovery/own_slice.h"
#include "sluice/discovery/target.h"
#include "sluice/tls/context.h"
#include "sluice/tls/secret.h"

namespace sluice::discovery {

// A file as it was read last.
struct PlacesFile {
  std::string path;
  std::vector<Place> places;
  std::string error;  // why there are none: what it said before counts

  friend bool operator==(const PlacesFile&, const PlacesFile&) = default;
};

// A Service in a management cluster, whose EndpointSlices are followed (slices.h).
struct SliceOptions {
  Place server;             // of the management cluster
  std::string path;         // before those of its API
  std::string server_name;  // what its certificate must carry
  std::string name_space;
  std::string service;
  std::string port_name;  // empty: the only one
  tls::ClientOptions tls;
  tls::Secret token;  // empty: a client certificate says who we are

  // Whether it is the same Service, whoever asks for it.
  bool same_service(const SliceOptions& other) const {
    return server == other.server && path == other.path && name_space == other.name_space &&
           service == other.service && port_name == other.port_name;
  }
  friend bool operator==(const SliceOptions&, const SliceOptions&) = default;
};

// Beside a cluster's fixed addresses.
struct Options {
  std::vector<Target> names;
  std::optional<PlacesFile> file;
  std::optional<SliceOptions> slices;
  std::optional<OwnSliceOptions> own_slice;
  // What certificates must carry; empty: the name, or the address where there is none.
  std::string server_name;

  // Whether there is anything to be discovered.
  bool any() const { return !names.empty() || file || slices || own_slice; }
  friend bool operator==(const Options&, const Options&) = default;
};

// For pages and metrics.
struct SourceStatus {
  enum class Kind : std::uint8_t { dns, file, endpoint_slices, self };
  Kind kind = Kind::dns;
  std::string name;           // "api.example", the file's path, or "namespace/service"
  std::size_t endpoints = 0;  // that it has named; of `self`: that were found by it
  WallTime last_success{};    // {}: never
  std::uint64_t failures = 0;
  std::string last_error;  // while the last attempt was one
  // Of `self` alone: what it names and is not used yet, or not tried at all; and how often anybody
  // was newly refused.
  std::size_t candidates = 0;
  std::size_t refused = 0;
  std::uint64_t refused_total = 0;
};
std::string_view to_string(SourceStatus::Kind kind);

class Sources {
 public:
  // What a cluster may have (balance::backends_max): the rest is left out.
  static constexpr std::size_t endpoints_max = places_max;
  // Whether an address must not be used, whoever names it.
  using Refuses = std::function<bool(const io::Address& address)>;

  // What is configured from now on. What is known of names that stay, and of a file that cannot be
  // read any more, is kept.
  void update(const std::vector<backend::Endpoint>& fixed, const Options& options, WallTime wall);
  void refuse(Refuses refuses) { refuses_ = std::move(refuses); }

  // Names to be asked for now. Each is asked for once, until it is answered.
  std::vector<std::string> due(Instant now);
  // Whether the list is another one than before.
  bool answered(const std::string& name, const NameAnswer& answer, Instant now, WallTime wall);

  // The same of what EndpointSlices say: all addresses, or why they are not known.
  bool take_slices(const Result<std::vector<io::Address>>& slices, WallTime wall);

  // What the API servers' own slice says goes through its rules first; null: it is not followed.
  // own_slice_changed(): whether the list is another because of them.
  OwnSlice* own_slice() { return own_ ? &*own_ : nullptr; }
  bool own_slice_changed() { return merge(); }
  void own_slice_read(WallTime wall);
  void own_slice_failed(std::string why);
  const std::string& own_slice_error() const { return own_status_.error; }  // empty: none
  // Who others than it name.
  bool is_written(const io::Address& address) const;
  std::size_t written() const { return written_; }
  // `host`: what its certificate must carry, unless the options say what.
  backend::Endpoint endpoint_at(const io::Address& address, const std::string& host) const;

  const std::vector<backend::Endpoint>& endpoints() const { return endpoints_; }
  // Whether everything has been asked for once, with whatever result.
  bool settled() const;
  // That are one too many for a cluster.
  std::size_t left_out() const { return left_out_; }
  // Empty when nothing has to be discovered.
  std::vector<SourceStatus> status() const;
  // Why a name's last question was in vain; empty: it was not, or it is no source.
  std::string error_of(const std::string& name) const;
  const std::string& slices_error() const { return slices_.error; }  // the same

 private:
  struct Name {
    NameState state;
    WallTime last_success{};
  };
  bool merge();
  void add(const io::Address& address, const std::string& host,
           std::vector<backend::Endpoint>& endpoints) const;
  void add(const Target& target, std::vector<backend::Endpoint>& endpoints) const;
  void take_file(const std::optional<PlacesFile>& file, WallTime wall);

  std::vector<backend::Endpoint> fixed_;
  Options options_;
  Refuses refuses_;
  std::map<std::string, Name> names_;
  std::vector<Place> file_;  // the last that were good
  WallTime file_success_{};
  std::uint64_t file_failures_ = 0;
  struct {
    std::vector<io::Address> addresses;
    bool settled = false;
    WallTime last_success{};
    std::uint64_t failures = 0;
    std::string error;
  } slices_;
  std::optional<OwnSlice> own_;
  struct {
    WallTime last_success{};
    std::uint64_t failures = 0;
    std::string error;
  } own_status_;
  std::vector<backend::Endpoint> endpoints_;
  std::size_t written_ = 0;  // of the first of them, or more
  std::size_t left_out_ = 0;
};

}  // namespace sluice::discovery
