// SPDX-License-Identifier: GPL-3.0-or-later
// Bytes in the order of this machine, which both processes run on:
//
//   16 bytes   what it is, and the form's number
//   8 + 8      the key
//   4          clusters; each: 4 its name's length, the name,
//              4 tokens; each: 8 + 8 hash, 8 network
//              4 backends; each: 4 its name's length, the name, 8 when it was started
//   8          a sum over all before
#include "handover.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace sluice::server {
namespace {

constexpr std::string_view form = "sluice proofs 2\n";
constexpr std::size_t sum_bytes = 8;
constexpr std::size_t token_bytes = 24;
constexpr std::size_t name_bytes_max = 1024;
constexpr std::size_t backends_max = 64;  // of a cluster
static_assert(form.size() == 16);

// FNV-1a: finds accidents; whoever could mean harm here could as well be us.
std::uint64_t sum(std::string_view bytes) {
  std::uint64_t sum = 0xcbf29ce484222325U;
  for (const char byte : bytes) sum = (sum ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3U;
  return sum;
}

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  template <class T>
  bool take(T& value) {
    if (rest_.size() < sizeof value) return false;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return true;
  }
  bool take(std::string& text, std::size_t bytes) {
    if (rest_.size() < bytes) return false;
    text = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return true;
  }
  std::size_t rest() const { return rest_.size(); }

 private:
  std::string_view rest_;
};

void put_name(std::string& out, std::string_view name) {
  put(out, static_cast<std::uint32_t>(name.size()));
  out += name;
}

bool take_name(Reader& reader, std::string& name) {
  std::uint32_t bytes = 0;
  return reader.take(bytes) && bytes <= name_bytes_max && reader.take(name, bytes);
}

bool take_backends(Reader& reader, std::vector<BackendStart>& backends) {
  std::uint32_t count = 0;
  if (!reader.take(count) || count > backends_max) return false;
  for (std::uint32_t i = 0; i < count; ++i) {
    BackendStart& backend = backends.emplace_back();
    Duration::rep started = 0;
    if (!take_name(reader, backend.name) || !reader.take(started)) return false;
    backend.started = Instant(Duration(started));
  }
  return true;
}

bool take_cluster(Reader& reader, ClusterProofs& cluster) {
  std::uint32_t tokens = 0;
  if (!take_name(reader, cluster.cluster) || !reader.take(tokens) ||
      tokens > reader.rest() / token_bytes) {
    return false;
  }
  cluster.tokens.resize(tokens);
  for (proxy::TokenChange& token : cluster.tokens) {
    token.proven = true;
    if (!reader.take(token.token.high) || !reader.take(token.token.low) ||
        !reader.take(token.network)) {
      return false;
    }
  }
  return take_backends(reader, cluster.backends);
}

std::string form_of_backends(const ClusterProofs& cluster) {
  std::string out;
  std::uint32_t count = 0;
  put(out, count);
  for (const BackendStart& backend : cluster.backends) {
    if (backend.name.size() > name_bytes_max || count == backends_max) continue;
    ++count;
    put_name(out, backend.name);
    put(out, backend.started.time_since_epoch().count());
  }
  std::memcpy(out.data(), &count, sizeof count);
  return out;
}

bool take_all(Reader& reader, Handover& handover) {
  std::uint32_t clusters = 0;
  if (!reader.take(handover.key[0]) || !reader.take(handover.key[1]) || !reader.take(clusters)) {
    return false;
  }
  for (std::uint32_t i = 0; i < clusters; ++i) {
    if (!take_cluster(reader, handover.clusters.emplace_back())) return false;
  }
  return reader.rest() == 0;
}

}  // namespace

std::string write_handover(const Handover& handover, std::size_t bytes_max) {
  std::string out(form);
  put(out, handover.key[0]);
  put(out, handover.key[1]);
  const std::size_t count_at = out.size();
  std::uint32_t clusters = 0;
  put(out, clusters);
  for (const ClusterProofs& each : handover.clusters) {
    const std::string backends = form_of_backends(each);
    const std::size_t bytes = 2 * sizeof(std::uint32_t) + each.cluster.size() +
                              each.tokens.size() * token_bytes + backends.size() + sum_bytes;
    if (each.cluster.size() > name_bytes_max || out.size() + bytes > bytes_max) continue;
    ++clusters;
    put_name(out, each.cluster);
    put(out, static_cast<std::uint32_t>(each.tokens.size()));
    for (const proxy::TokenChange& token : each.tokens) {
      put(out, token.token.high);
      put(out, token.token.low);
      put(out, token.network);
    }
    out += backends;
  }
  std::memcpy(out.data() + count_at, &clusters, sizeof clusters);
  put(out, sum(out));
  return out;
}

Result<Handover> read_handover(std::string_view bytes) {
  if (!bytes.starts_with(form) || bytes.size() < form.size() + sum_bytes) {
    return fail(ErrorKind::invalid_argument, "it is of another form");
  }
  const std::string_view summed = bytes.substr(0, bytes.size() - sum_bytes);
  std::uint64_t said = 0;
  std::memcpy(&said, bytes.data() + summed.size(), sum_bytes);
  Handover handover;
  Reader reader(summed.substr(form.size()));
  if (said != sum(summed) || !take_all(reader, handover)) {
    return fail(ErrorKind::invalid_argument, "it is damaged");
  }
  return handover;
}

Result<Handover> read_handover_file(int descriptor) {
  struct stat about{};
  if (::fstat(descriptor, &about) != 0) return fail_errno("it cannot be read", errno);
  const auto size = static_cast<std::size_t>(about.st_size);
  if (!S_ISREG(about.st_mode) || size > handover_bytes_max) {
    return fail(ErrorKind::invalid_argument, "it is no file, or too large");
  }
  std::string bytes(size, '\0');
  for (std::size_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(descriptor, bytes.data() + done, size - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return fail_errno("it cannot be read", errno);
    done += static_cast<std::size_t>(got);
  }
  return read_handover(bytes);
}

}  // namespace sluice::server
