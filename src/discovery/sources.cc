// SPDX-License-Identifier: GPL-3.0-or-later
// The merge.
#include "sluice/discovery/sources.h"

#include <algorithm>
#include <span>
#include <utility>

namespace sluice::discovery {

std::string_view to_string(SourceStatus::Kind kind) {
  switch (kind) {
    case SourceStatus::Kind::dns: return "dns";
    case SourceStatus::Kind::file: return "file";
    case SourceStatus::Kind::endpoint_slices: return "endpointslices";
    case SourceStatus::Kind::self: return "self";
  }
  return "unknown";
}

void Sources::update(const std::vector<backend::Endpoint>& fixed, const Options& options,
                     WallTime wall) {
  fixed_ = fixed;
  take_file(options.file, wall);
  const bool same_service =
      options.slices && options_.slices && options.slices->same_service(*options_.slices);
  if (!same_service) slices_ = {};
  if (!options.own_slice) {
    own_.reset();
    own_status_ = {};
  } else {
    if (!own_) own_.emplace();
    own_->use(*options.own_slice);
  }
  options_ = options;
  // Whoever follows them has what it needs.
  if (options_.slices) {
    options_.slices->tls = {};
    options_.slices->token = {};
  }
  std::map<std::string, Name> before = std::exchange(names_, {});
  const auto keep = [&](const Target& target) {
    const auto known = before.find(target.host);
    if (known == before.end()) {
      names_.try_emplace(target.host);
    } else {
      names_.insert(before.extract(known));
    }
  };
  std::ranges::for_each(options.names, keep);
  for (const Place& place : file_) {
    if (const Target* target = std::get_if<Target>(&place)) keep(*target);
  }
  merge();
}

void Sources::take_file(const std::optional<PlacesFile>& file, WallTime wall) {
  if (!file) {
    file_.clear();
    file_success_ = {};
    file_failures_ = 0;
  } else if (file->error.empty()) {
    file_ = file->places;
    file_success_ = wall;
  } else if (options_.file != file) {
    ++file_failures_;
  }
}

std::vector<std::string> Sources::due(Instant now) {
  std::vector<std::string> due;
  for (auto& [host, name] : names_) {
    if (!name.state.due(now)) continue;
    name.state.asked();
    due.push_back(host);
  }
  return due;
}

bool Sources::answered(const std::string& host, const NameAnswer& answer, Instant now,
                       WallTime wall) {
  const auto found = names_.find(host);
  // It is no source any more.
  if (found == names_.end()) return false;
  Name& name = found->second;
  const std::uint64_t failures = name.state.failures();
  name.state.take(answer, now);
  if (name.state.failures() == failures) name.last_success = wall;
  return merge();
}

bool Sources::take_slices(const Result<std::vector<io::Address>>& slices, WallTime wall) {
  slices_.settled = true;
  if (slices && !slices->empty()) {
    slices_.addresses = *slices;
    slices_.last_success = wall;
    slices_.error.clear();
    return merge();
  }
  ++slices_.failures;
  slices_.error = slices ? "the Service has no endpoints that serve" : slices.error().context;
  return false;
}

void Sources::own_slice_read(WallTime wall) {
  own_status_.last_success = wall;
  own_status_.error.clear();
}

void Sources::own_slice_failed(std::string why) {
  if (own_) own_->failed();
  ++own_status_.failures;
  own_status_.error = std::move(why);
}

bool Sources::is_written(const io::Address& address) const {
  const auto written = std::span(endpoints_).first(std::min(written_, endpoints_.size()));
  return std::ranges::find(written, address, &backend::Endpoint::address) != written.end();
}

backend::Endpoint Sources::endpoint_at(const io::Address& address, const std::string& host) const {
  return {address, address.to_string(), options_.server_name.empty() ? host : options_.server_name};
}

std::string Sources::error_of(const std::string& host) const {
  const auto found = names_.find(host);
  return found == names_.end() ? std::string() : found->second.state.error();
}

void Sources::add(const io::Address& address, const std::string& host,
                  std::vector<backend::Endpoint>& endpoints) const {
  if (!can_be_reached(address) || (refuses_ && refuses_(address))) return;
  if (std::ranges::find(endpoints, address, &backend::Endpoint::address) != endpoints.end()) return;
  endpoints.push_back(endpoint_at(address, host));
}

void Sources::add(const Target& target, std::vector<backend::Endpoint>& endpoints) const {
  const auto known = names_.find(target.host);
  if (known == names_.end()) return;
  for (const io::Address& address : known->second.state.addresses()) {
    add(address.with_port(target.port), target.host, endpoints);
  }
}

// An address counts once, as whoever comes first says.
bool Sources::merge() {
  std::vector<backend::Endpoint> merged = fixed_;
  for (const Target& target : options_.names) add(target, merged);
  for (const Place& place : file_) {
    if (const io::Address* address = std::get_if<io::Address>(&place)) {
      add(*address, address->host(), merged);
    } else {
      add(std::get<Target>(place), merged);
    }
  }
  for (const io::Address& address : slices_.addresses) add(address, address.host(), merged);
  written_ = merged.size();
  if (own_) {
    for (const io::Address& address : own_->found()) add(address, address.host(), merged);
  }
  left_out_ = merged.size() - std::min(merged.size(), endpoints_max);
  merged.resize(merged.size() - left_out_);
  // Whoever was there before is better than nobody.
  if ((merged.empty() && options_.any()) || merged == endpoints_) return false;
  endpoints_ = std::move(merged);
  return true;
}

bool Sources::settled() const {
  if (options_.slices && !slices_.settled) return false;
  if (own_ && !own_->settled()) return false;
  return std::ranges::all_of(names_, [](const auto& name) { return name.second.state.settled(); });
}

std::vector<SourceStatus> Sources::status() const {
  std::vector<SourceStatus> all;
  for (const auto& [host, name] : names_) {
    all.push_back({.kind = SourceStatus::Kind::dns,
                   .name = host,
                   .endpoints = name.state.addresses().size(),
                   .last_success = name.last_success,
                   .failures = name.state.failures(),
                   .last_error = name.state.error()});
  }
  if (options_.file) {
    all.push_back({.kind = SourceStatus::Kind::file,
                   .name = options_.file->path,
                   .endpoints = file_.size(),
                   .last_success = file_success_,
                   .failures = file_failures_,
                   .last_error = options_.file->error});
  }
  if (options_.slices) {
    all.push_back({.kind = SourceStatus::Kind::endpoint_slices,
                   .name = options_.slices->name_space + "/" + options_.slices->service,
                   .endpoints = slices_.addresses.size(),
                   .last_success = slices_.last_success,
                   .failures = slices_.failures,
                   .last_error = slices_.error});
  }
  if (own_) {
    all.push_back({.kind = SourceStatus::Kind::self,
                   .name = "default/kubernetes",
                   .endpoints = own_->found().size(),
                   .last_success = own_status_.last_success,
                   .failures = own_status_.failures,
                   .last_error = own_status_.error,
                   .candidates = own_->candidates(),
                   .refused = own_->refused(),
                   .refused_total = own_->refused_total()});
  }
  return all;
}

}  // namespace sluice::discovery
