// SPDX-License-Identifier: GPL-3.0-or-later
// The real proxy between real sockets: certificates, simulated API servers and sluice as child
// processes on loopback, and clients in front. SLUICE_BINARY and APISIM_BINARY name the programs.
// Children end with the test that started them, by their process id; when a test has failed, their
// logs are shown.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "certificates.h"
#include "http2_client.h"
#include "json.h"
#include "sluice/io/address.h"

namespace sluice::test {

using Json = apisim::Json;
using Flags = std::vector<std::string>;

// The time from an event at the proxy to the moment at which a client of these tests notes it, on a
// busy machine.
constexpr Duration client_clock_slack = std::chrono::milliseconds(100);

// A directory that goes with its owner.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void write_file(const std::string& path, std::string_view text);
std::string read_file(const std::string& path);

// Certificates and tokens of a small cluster, made once for the process. As apisim's
// --certificates takes them.
struct Credentials {
  static const Credentials& get();

  Credentials();
  TemporaryDirectory directory;
  Certificate serving_ca, client_ca, front_proxy_ca, gateway_ca, foreign_ca;
  Certificate gateway, front_proxy;
  Certificate alice, bob, carol, anonymous;
  // No identities.
  Certificate expired, foreign, nameless, ca_leaf, wrong_usage, clone;
  std::string file(std::string_view name) const { return directory.file(name); }
};
// Tokens that the simulated servers know: "token-0" to "token-7" name users of the same names.
FieldList bearer(std::string_view token = "token-0");

// A TLS client of the proxy (or of a simulated server, with its CA); null certificate: none.
std::shared_ptr<const tls::ClientContext> client_tls(const Certificate* certificate = nullptr,
                                                     const Certificate* ca = nullptr,
                                                     std::vector<std::string> alpn = {"h2"});

class Child {
 public:
  struct Plan {
    std::string binary;
    Flags arguments;
    std::string log;                // standard error, and standard output after the first line
    std::uint64_t descriptors = 0;  // RLIMIT_NOFILE; 0: ours
    // Beside our environment. With WATCHDOG_USEC comes WATCHDOG_PID.
    std::map<std::string, std::string> environment = {};
    std::vector<int> sockets = {};  // passed as a service manager does it (sd_listen_fds(3))
  };
  explicit Child(Plan plan);
  // Ends it: SIGTERM, then SIGKILL.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  // Exit code once it has ended; 128 + number when a signal ended it.
  std::optional<int> exit_code();
  bool wait_exit(Duration timeout);
  std::string output() const;  // of standard output, so far
  std::string log() const { return read_file(plan_.log); }
  double cpu_seconds() const;
  std::size_t resident_bytes() const;
  std::size_t descriptors() const;
  std::size_t descriptor_table_size() const;

 private:
  Plan plan_;
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
};

// Of any process: those descriptors that lead to something whose name contains `what`.
std::size_t descriptors_of(pid_t process, std::string_view what);
// The path of the program under test.
std::string sluice_binary();

// Runs to its end.
struct Finished {
  int code = -1;
  std::string out;
  std::string err;
};
Finished run_sluice(const Flags& flags, Duration timeout = std::chrono::seconds(20));

struct HttpReply {
  int status = 0;  // 0: no connection
  std::string head;
  std::string body;
};
// One plain HTTP/1.1 request.
HttpReply http_request(const io::Address& address, std::string_view method,
                       std::string_view target);

// A loopback address for a child to listen on, and for nobody else.
io::Address free_address();

class Apisim {
 public:
  explicit Apisim(const Flags& flags);

  const std::vector<io::Address>& servers() const { return servers_; }
  Child& child() { return *child_; }
  // Commands of the control interface; a refused one fails the test.
  void post(std::string_view target);
  Json get(std::string_view target);
  Json counters(std::size_t server);
  // A number of the counters, by its path: {"requests", "pods", "get"}; 0 when it is not there.
  std::uint64_t count(std::size_t server, const std::vector<std::string>& path);
  std::vector<std::uint64_t> counts(const std::vector<std::string>& path);
  std::uint64_t total(const std::vector<std::string>& path);

  struct Seen {
    std::string method, path, peer, user;
    int status = 0;
    std::uint64_t connection = 0;
    FieldList fields, trailers;
    std::vector<std::string> values(std::string_view name) const;
  };
  std::vector<Seen> seen(std::string_view containing = "", std::size_t limit = 20'000);

 private:
  TemporaryDirectory directory_;
  std::unique_ptr<Child> child_;
  io::Address control_;
  std::vector<io::Address> servers_;
};

class Sluice {
 public:
  // With the usual flags for `backends` unless `plain` leaves out identities; `flags` come last.
  struct Plan {
    Flags flags = {};
    bool identities = true;
    bool cluster_flags = true;  // false: what belongs to a cluster is in files that `flags` name
    std::uint64_t descriptors = 0;
    bool wait_ready = true;
    std::string binary = {};  // empty: the program under test
    std::map<std::string, std::string> environment = {};
    std::vector<int> sockets = {};
    std::optional<io::Address> address = {};  // where it listens
    std::optional<io::Address> admin = {};
  };
  Sluice(const std::vector<io::Address>& backends, Plan plan);

  const io::Address& address() const { return address_; }
  const io::Address& admin() const { return admin_; }
  Child& child() { return *child_; }
  HttpReply page(std::string_view path) const { return http_request(admin_, "GET", path); }
  bool wait_page(std::string_view path, int status,
                 Duration timeout = std::chrono::seconds(20)) const;
  // Until it listens, whether backends are ready or not.
  bool wait_serving(Duration timeout = std::chrono::seconds(20)) const;
  // The sum of all samples of that name whose labels contain each of `labels`.
  double metric(std::string_view name, const std::vector<std::string>& labels = {}) const;
  std::string nonzero_metrics() const;

 private:
  TemporaryDirectory directory_;
  io::Address address_;
  io::Address admin_;
  std::unique_ptr<Child> child_;
};

// What most tests have.
class IntegrationTest : public testing::Test {
 protected:
  IntegrationTest();
  ~IntegrationTest() override;
  void TearDown() override;

  // Starts both; to be called first.
  void start(const Flags& sluice_flags = {}, const Flags& apisim_flags = {});
  void start_apisim(const Flags& flags = {});
  void start_sluice(Sluice::Plan plan = {});

  std::unique_ptr<Http2Client> connect(const Certificate* certificate = nullptr,
                                       const ClientOptions& options = {});
  // Straight to a simulated server.
  std::unique_ptr<Http2Client> connect_directly(std::size_t server,
                                                const Certificate* certificate = nullptr);
  std::unique_ptr<RawClient> connect_raw(const Certificate* certificate = nullptr,
                                         std::string_view source = {});
  // Opens watches on pods, one after the other, and waits for their heads.
  std::vector<Http2Client::Id> open_watches(Http2Client& client, std::size_t count,
                                            const FieldList& fields = {});
  bool eventually(const std::function<bool()>& done, Duration timeout = patience);

  const Credentials& credentials;
  std::optional<Apisim> apisim;
  std::optional<Sluice> sluice;
  std::unique_ptr<ClientLoop> loop;

 private:
  std::shared_ptr<const tls::ClientContext> context(const Certificate* certificate,
                                                    const Certificate* ca);
  std::map<std::pair<const Certificate*, const Certificate*>,
           std::shared_ptr<const tls::ClientContext>>
      contexts_;
};

// Whether the programs under test were built with sanitizers (SLUICE_SANITIZED): they keep freed
// memory for a while, and report at their end.
bool sanitized();
// How much more a process may hold after something than before it.
std::size_t allowance(std::size_t bytes);

constexpr std::string_view object_path = "/api/v1/namespaces/bench/configmaps/kb-1";
constexpr std::string_view review_path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

double max_over_mean(const std::vector<std::uint64_t>& counts);

}  // namespace sluice::test
