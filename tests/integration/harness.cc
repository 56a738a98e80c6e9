// SPDX-License-Identifier: GPL-3.0-or-later
// Children, certificates, and what tests ask of them.
#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <thread>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"

namespace sluice::test {

namespace {

constexpr Duration poll_interval = std::chrono::milliseconds(10);

std::string program(const char* variable) {
  const char* path = std::getenv(variable);
  if (path == nullptr) {
    std::fprintf(stderr, "%s must name the program under test\n", variable);
    std::abort();
  }
  return path;
}

std::string tail(const std::string& text, std::size_t bytes = 4000) {
  return text.size() <= bytes ? text : "..." + text.substr(text.size() - bytes);
}

Certificate issue_with(const Certificate& ca, const std::function<void(Specification&)>& change) {
  Specification specification;
  specification.subject = name("mallory", {"system:masters"});
  specification.key_usage = key_usage_digital_signature;
  specification.extended_usages = {std::string(usage_client_auth)};
  change(specification);
  return issue(ca, specification);
}

}  // namespace

// --- files -----------------------------------------------------------------------------------

TemporaryDirectory::TemporaryDirectory() {
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(base != nullptr ? base : "/tmp") + "/sluice-test-XXXXXX";
  CHECK(::mkdtemp(path_.data()) != nullptr);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::string& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  if (path.ends_with(".key")) std::filesystem::permissions(path, std::filesystem::perms(0600));
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  CHECK(file.good());
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// --- credentials -----------------------------------------------------------------------------

const Credentials& Credentials::get() {
  static const Credentials credentials;
  return credentials;
}

Credentials::Credentials()
    : serving_ca(make_ca("kubernetes-ca")),
      client_ca(make_ca("kubernetes-client-ca")),
      front_proxy_ca(make_ca("front-proxy-ca")),
      gateway_ca(make_ca("gateway-ca")),
      foreign_ca(make_ca("foreign-ca")),
      gateway(issue_server(gateway_ca, {"kubernetes", "kubernetes.default.svc.cluster.local",
                                        "localhost", "127.0.0.1"})),
      front_proxy(issue_client(front_proxy_ca, "front-proxy-client")),
      alice(issue_client(client_ca, "alice", {"developers", "operators"})),
      bob(issue_client(client_ca, "bob", {"developers"})),
      carol(issue_client(client_ca, "carol")),
      anonymous(issue_client(client_ca, "system:anonymous", {"system:unauthenticated"})),
      expired(issue_with(
          client_ca,
          [](Specification& s) { s.not_after = default_not_before + std::chrono::days(365); })),
      foreign(issue_client(foreign_ca, "alice", {"system:masters"})),
      nameless(
          issue_with(client_ca, [](Specification& s) { s.subject = name("", {"developers"}); })),
      ca_leaf(issue_with(client_ca, [](Specification& s) { s.ca = true; })),
      wrong_usage(issue_with(
          client_ca,
          [](Specification& s) { s.extended_usages = {std::string(usage_server_auth)}; })),
      clone(clone_with_other_key(alice, Key::generate())) {
  const auto put = [this](std::string_view file_name, const Certificate& certificate) {
    write_file(file(std::string(file_name) + ".crt"), certificate.pem());
    write_file(file(std::string(file_name) + ".key"), certificate.key_pem());
  };
  write_file(file("ca.crt"), serving_ca.pem());
  write_file(file("client-ca.crt"), client_ca.pem());
  write_file(file("front-proxy-ca.crt"), front_proxy_ca.pem());
  write_file(file("gateway-ca.crt"), gateway_ca.pem());
  put("apiserver", issue_server(serving_ca, {"kubernetes.default.svc.cluster.local", "kubernetes",
                                             "localhost", "127.0.0.1"}));
  put("gateway", gateway);
  put("front-proxy-client", front_proxy);
  put("alice", alice);
  std::string tokens;
  for (int i = 0; i < 8; ++i) {
    tokens += fmt::format("token-{0},token-{0},uid-{0},\"developers,team-{0}\"\n", i);
  }
  write_file(file("tokens.csv"), tokens);
}

FieldList bearer(std::string_view token) {
  return {{"authorization", "Bearer " + std::string(token)}};
}

std::shared_ptr<const tls::ClientContext> client_tls(const Certificate* certificate,
                                                     const Certificate* ca,
                                                     std::vector<std::string> alpn) {
  CHECK(tls::initialize().has_value());
  tls::ClientOptions options;
  options.ca_pem = (ca == nullptr ? Credentials::get().gateway_ca : *ca).pem();
  if (certificate != nullptr) {
    options.certificate_chain_pem = certificate->pem();
    options.private_key_pem = certificate->key_pem();
  }
  options.alpn = std::move(alpn);
  return tls::ClientContext::create(options).value();
}

// --- children --------------------------------------------------------------------------------

// The environment of a child, made before the fork; what only the child knows is filled in behind
// it.
class ChildEnvironment {
 public:
  ChildEnvironment(const std::map<std::string, std::string>& more, std::size_t sockets) {
    for (char** variable = environ; *variable != nullptr; ++variable)
      texts_.emplace_back(*variable);
    for (const auto& [name, value] : more) texts_.push_back(fmt::format("{}={}", name, value));
    if (sockets > 0) {
      texts_.push_back(fmt::format("LISTEN_FDS={}", sockets));
      texts_.emplace_back("LISTEN_PID=");
    }
    if (more.contains("WATCHDOG_USEC")) texts_.emplace_back("WATCHDOG_PID=");
    for (std::string& text : texts_) {
      const std::size_t at = text.size();
      const bool pid = text == "LISTEN_PID=" || text == "WATCHDOG_PID=";
      if (pid) text.resize(at + 16);
      if (pid) pids_.push_back(text.data() + at);
      pointers_.push_back(text.data());
    }
    pointers_.push_back(nullptr);
  }
  char** for_process(pid_t process) {
    for (char* place : pids_) std::snprintf(place, 16, "%d", process);
    return pointers_.data();
  }

 private:
  std::vector<std::string> texts_;
  std::vector<char*> pids_;
  std::vector<char*> pointers_;
};

// From 3 on, without close-on-exec.
void pass_sockets(const std::vector<int>& sockets) {
  constexpr int first = 3;
  constexpr int away = 500;
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    ::dup2(sockets[i], away + static_cast<int>(i));
  }
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    ::dup2(away + static_cast<int>(i), first + static_cast<int>(i));
    ::close(away + static_cast<int>(i));
  }
}

Child::Child(Plan plan) : plan_(std::move(plan)) {
  std::vector<char*> argv{plan_.binary.data()};
  for (std::string& argument : plan_.arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const std::string out = plan_.log + ".out";
  ChildEnvironment environment(plan_.environment, plan_.sockets.size());
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  CHECK(pid_ >= 0);
  if (pid_ > 0) return;
  // In the child: nothing but system calls.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);
  const int log = ::open(plan_.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  const int standard = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  const int none = ::open("/dev/null", O_RDONLY);
  ::dup2(none, 0);
  ::dup2(standard, 1);
  ::dup2(log, 2);
  ::close(log);
  ::close(standard);
  ::close(none);
  if (plan_.descriptors > 0) {
    const rlimit limit{plan_.descriptors, plan_.descriptors};
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  pass_sockets(plan_.sockets);
  ::execve(plan_.binary.c_str(), argv.data(), environment.for_process(::getpid()));
  ::_exit(127);
}

Child::~Child() {
  if (exit_code()) return;
  signal(SIGTERM);
  if (wait_exit(std::chrono::milliseconds(100))) return;
  // A second one ends the proxy at once.
  signal(SIGTERM);
  if (wait_exit(std::chrono::seconds(3))) return;
  signal(SIGKILL);
  wait_exit(std::chrono::seconds(10));
}

void Child::signal(int number) const {
  if (!exit_code_ && pid_ > 1) ::kill(pid_, number);
}

std::optional<int> Child::exit_code() {
  if (exit_code_) return exit_code_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

bool Child::wait_exit(Duration timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  while (!exit_code()) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(poll_interval);
  }
  return true;
}

std::string Child::output() const { return read_file(plan_.log + ".out"); }

double Child::cpu_seconds() const {
  const std::string stat = read_file(fmt::format("/proc/{}/stat", pid_));
  // After the name in parentheses: fields 3 and on (proc(5)); 14 and 15 are utime and stime.
  std::istringstream rest(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
  std::string field;
  double ticks = 0;
  for (int number = 3; number <= 15 && rest >> field; ++number) {
    if (number >= 14) ticks += std::atof(field.c_str());
  }
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::size_t Child::resident_bytes() const {
  std::istringstream statm(read_file(fmt::format("/proc/{}/statm", pid_)));
  std::size_t all = 0;
  std::size_t resident = 0;
  statm >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t Child::descriptor_table_size() const {
  std::istringstream status(read_file(fmt::format("/proc/{}/status", pid_)));
  std::size_t size = 0;
  for (std::string word; status >> word;) {
    if (word == "FDSize:") status >> size;
  }
  return size;
}

std::size_t Child::descriptors() const { return descriptors_of(pid_, ""); }

std::size_t descriptors_of(pid_t process, std::string_view what) {
  std::error_code error;
  std::size_t count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", process), error)) {
    count += std::filesystem::read_symlink(entry.path(), error).string().contains(what);
  }
  return count;
}

std::string sluice_binary() { return program("SLUICE_BINARY"); }

Finished run_sluice(const Flags& flags, Duration timeout) {
  const TemporaryDirectory directory;
  Child child({program("SLUICE_BINARY"), flags, directory.file("log"), 0});
  Finished finished;
  if (child.wait_exit(timeout)) finished.code = *child.exit_code();
  finished.out = child.output();
  finished.err = child.log();
  return finished;
}

// --- plain HTTP ------------------------------------------------------------------------------

HttpReply http_request(const io::Address& address, std::string_view method,
                       std::string_view target) {
  HttpReply reply;
  const int descriptor = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(descriptor >= 0);
  const timeval timeout{10, 0};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  if (::connect(descriptor, address.data(), address.size()) == 0) {
    const std::string request = fmt::format(
        "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method, target);
    ::send(descriptor, request.data(), request.size(), MSG_NOSIGNAL);
    std::string text;
    std::vector<char> buffer(65536);
    ssize_t got = 0;
    while ((got = ::recv(descriptor, buffer.data(), buffer.size(), 0)) > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    if (const std::size_t end = text.find("\r\n\r\n");
        end != std::string::npos && text.size() > 12) {
      reply.head = text.substr(0, end + 2);
      reply.body = text.substr(end + 4);
      reply.status = std::atoi(text.c_str() + 9);
    }
  }
  ::close(descriptor);
  return reply;
}

// The port stays bound, without listening, as long as this process lives, so that nobody else is
// given it; with SO_REUSEADDR and SO_REUSEPORT the proxy can listen on it all the same (socket(7)).
io::Address free_address() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(descriptor >= 0);
  const int on = 1;
  ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_EQ(::bind(descriptor, reinterpret_cast<const sockaddr*>(&any), sizeof any), 0);
  return io::local_address(descriptor).value();
}

// --- apisim ----------------------------------------------------------------------------------

Apisim::Apisim(const Flags& flags) {
  Flags all = {"--certificates", Credentials::get().directory.path(), "--record-requests", "20000"};
  all.insert(all.end(), flags.begin(), flags.end());
  child_ = std::make_unique<Child>(
      Child::Plan{program("APISIM_BINARY"), all, directory_.file("apisim"), 0});
  const Clock::time_point deadline = Clock::now() + patience;
  while (!child_->output().contains('\n') && !child_->exit_code() && Clock::now() < deadline) {
    std::this_thread::sleep_for(poll_interval);
  }
  const auto ready = Json::parse(child_->output());
  if (!ready) {
    std::fprintf(stderr, "apisim did not start: %s\n", child_->log().c_str());
    std::abort();
  }
  control_ = io::Address::parse(ready->text("control")).value();
  for (const Json& server : *ready->find("servers")->array()) {
    servers_.push_back(io::Address::parse(*server.string()).value());
  }
}

void Apisim::post(std::string_view target) {
  const HttpReply reply = http_request(control_, "POST", target);
  EXPECT_EQ(reply.status, 200) << target << ": " << reply.body;
}

Json Apisim::get(std::string_view target) {
  const HttpReply reply = http_request(control_, "GET", target);
  EXPECT_EQ(reply.status, 200) << target << ": " << reply.body;
  return Json::parse(reply.body).value_or(Json());
}

Json Apisim::counters(std::size_t server) {
  const Json all = get("/counters");
  const Json* list = all.find("servers");
  return list == nullptr ? Json() : (*list->array())[server];
}

std::uint64_t Apisim::count(std::size_t server, const std::vector<std::string>& path) {
  const Json all = counters(server);
  const Json* at = &all;
  for (const std::string& step : path) {
    at = at->find(step);
    if (at == nullptr) return 0;
  }
  return std::strtoull(at->to_string().c_str(), nullptr, 10);
}

std::vector<std::uint64_t> Apisim::counts(const std::vector<std::string>& path) {
  std::vector<std::uint64_t> all;
  for (std::size_t i = 0; i < servers_.size(); ++i) all.push_back(count(i, path));
  return all;
}

std::uint64_t Apisim::total(const std::vector<std::string>& path) {
  const std::vector<std::uint64_t> all = counts(path);
  return std::accumulate(all.begin(), all.end(), std::uint64_t{0});
}

std::vector<std::string> Apisim::Seen::values(std::string_view name) const {
  std::vector<std::string> found;
  for (const auto& [field, value] : fields) {
    if (field == name) found.push_back(value);
  }
  return found;
}

std::vector<Apisim::Seen> Apisim::seen(std::string_view containing, std::size_t limit) {
  std::vector<Seen> all;
  const Json lists = get(fmt::format("/requests?limit={}&contains={}", limit, containing));
  if (lists.array() == nullptr) return all;
  for (const Json& list : *lists.array()) {
    for (const Json& each : *list.array()) {
      Seen seen;
      seen.method = each.text("method");
      seen.path = each.text("path");
      seen.peer = each.text("peer");
      seen.user = each.text("user");
      seen.status = std::atoi(each.find("status")->to_string().c_str());
      seen.connection = std::strtoull(each.find("connection")->to_string().c_str(), nullptr, 10);
      for (const Json& field : *each.find("fields")->array()) {
        seen.fields.emplace_back(*(*field.array())[0].string(), *(*field.array())[1].string());
      }
      for (const Json& field : *each.find("trailers")->array()) {
        seen.trailers.emplace_back(*(*field.array())[0].string(), *(*field.array())[1].string());
      }
      all.push_back(std::move(seen));
    }
  }
  return all;
}

// --- sluice ----------------------------------------------------------------------------------

namespace {

Flags usual_process_flags(const io::Address& address, const io::Address& admin) {
  return {"--listen=" + address.to_string(), "--admin-listen=" + admin.to_string(), "--workers=1",
          "--shutdown-delay-duration=0s", "--drain-timeout=1s"};
}

Flags usual_cluster_flags(const std::vector<io::Address>& backends, bool identities) {
  const Credentials& credentials = Credentials::get();
  Flags all = {"--tls-cert-file=" + credentials.file("gateway.crt"),
               "--tls-private-key-file=" + credentials.file("gateway.key"),
               "--backend-ca-file=" + credentials.file("ca.crt"),
               "--backend-server-name=kubernetes.default.svc.cluster.local"};
  if (identities) {
    all.push_back("--client-ca-file=" + credentials.file("client-ca.crt"));
    all.push_back("--proxy-client-cert-file=" + credentials.file("front-proxy-client.crt"));
    all.push_back("--proxy-client-key-file=" + credentials.file("front-proxy-client.key"));
  }
  for (const io::Address& backend : backends) all.push_back("--backend=" + backend.to_string());
  return all;
}

}  // namespace

Sluice::Sluice(const std::vector<io::Address>& backends, Plan plan)
    : address_(plan.address ? *plan.address : free_address()),
      admin_(plan.admin ? *plan.admin : free_address()) {
  Flags all = usual_process_flags(address_, admin_);
  if (plan.cluster_flags) {
    const Flags more = usual_cluster_flags(backends, plan.identities);
    all.insert(all.end(), more.begin(), more.end());
  }
  for (const std::string& flag : plan.flags) {
    // What a file may say is not said on the command line.
    if (flag.starts_with("--config=")) std::erase(all, "--workers=1");
    // The last word on a flag counts.
    std::erase_if(all, [&](const std::string& other) {
      return !flag.starts_with("--backend=") &&
             flag.substr(0, flag.find('=')) == other.substr(0, other.find('='));
    });
    all.push_back(flag);
  }
  const std::string binary = plan.binary.empty() ? sluice_binary() : plan.binary;
  child_ = std::make_unique<Child>(Child::Plan{binary, all, directory_.file("sluice"),
                                               plan.descriptors, plan.environment, plan.sockets});
  if (plan.wait_ready && !wait_page("/readyz", 200)) {
    ADD_FAILURE() << "the proxy did not become ready: " << tail(child_->log());
  }
}

bool Sluice::wait_page(std::string_view path, int status, Duration timeout) const {
  const Clock::time_point deadline = Clock::now() + timeout;
  while (page(path).status != status) {
    if (Clock::now() >= deadline || child_->exit_code()) return false;
    std::this_thread::sleep_for(poll_interval);
  }
  return true;
}

bool Sluice::wait_serving(Duration timeout) const {
  const Clock::time_point deadline = Clock::now() + timeout;
  while (true) {
    const HttpReply reply = page("/readyz");
    if (reply.status != 0 && !reply.body.starts_with("starting")) return true;
    if (Clock::now() >= deadline || child_->exit_code()) return false;
    std::this_thread::sleep_for(poll_interval);
  }
}

double Sluice::metric(std::string_view name, const std::vector<std::string>& labels) const {
  std::istringstream lines(page("/metrics").body);
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name) || line.size() == name.size()) continue;
    const char after = line[name.size()];
    if (after != ' ' && after != '{') continue;
    bool wanted = true;
    for (const std::string& label : labels) wanted = wanted && line.contains(label);
    if (wanted) sum += std::atof(line.c_str() + line.rfind(' '));
  }
  return sum;
}

std::string Sluice::nonzero_metrics() const {
  std::istringstream lines(page("/metrics").body);
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#') || line.ends_with(" 0") || line.contains("_bucket")) continue;
    text += line + "\n";
  }
  return text;
}

// --- fixture ---------------------------------------------------------------------------------

IntegrationTest::IntegrationTest() : credentials(Credentials::get()) {
  loop = std::make_unique<ClientLoop>();
}

IntegrationTest::~IntegrationTest() {
  loop.reset();
  sluice.reset();
  apisim.reset();
}

void IntegrationTest::TearDown() {
  // A crash must not go unnoticed, whatever a test looks at.
  for (Child* child : {sluice ? &sluice->child() : nullptr, apisim ? &apisim->child() : nullptr}) {
    if (child == nullptr) continue;
    if (const auto code = child->exit_code(); code && *code != 0) {
      ADD_FAILURE() << "a child ended with " << *code;
    }
  }
  if (sluice && sanitized()) {
    sluice->child().signal(SIGTERM);
    sluice->child().wait_exit(std::chrono::seconds(10));
    const std::string log = sluice->child().log();
    for (const std::string_view mark : {"Sanitizer", "runtime error"}) {
      if (log.contains(mark)) ADD_FAILURE() << log.substr(log.find(mark), 4000);
    }
  }
  if (!HasFailure()) return;
  if (sluice) {
    std::fprintf(stderr, "--- log of sluice\n%s\n", tail(sluice->child().log()).c_str());
    std::fprintf(stderr, "--- its metrics other than zero\n%s\n",
                 sluice->nonzero_metrics().c_str());
  }
  if (apisim) std::fprintf(stderr, "--- log of apisim\n%s\n", tail(apisim->child().log()).c_str());
}

void IntegrationTest::start_apisim(const Flags& flags) { apisim.emplace(flags); }

void IntegrationTest::start_sluice(Sluice::Plan plan) {
  sluice.emplace(apisim->servers(), std::move(plan));
}

void IntegrationTest::start(const Flags& sluice_flags, const Flags& apisim_flags) {
  start_apisim(apisim_flags);
  start_sluice({.flags = sluice_flags});
}

std::shared_ptr<const tls::ClientContext> IntegrationTest::context(const Certificate* certificate,
                                                                   const Certificate* ca) {
  auto& found = contexts_[{certificate, ca}];
  if (!found) found = client_tls(certificate, ca);
  return found;
}

std::unique_ptr<Http2Client> IntegrationTest::connect(const Certificate* certificate,
                                                      const ClientOptions& options) {
  return std::make_unique<Http2Client>(*loop, sluice->address(), context(certificate, nullptr),
                                       options);
}

std::unique_ptr<Http2Client> IntegrationTest::connect_directly(std::size_t server,
                                                               const Certificate* certificate) {
  return std::make_unique<Http2Client>(*loop, apisim->servers()[server],
                                       context(certificate, &credentials.serving_ca));
}

std::unique_ptr<RawClient> IntegrationTest::connect_raw(const Certificate* certificate,
                                                        std::string_view source) {
  return std::make_unique<RawClient>(sluice->address(), context(certificate, nullptr), true,
                                     source);
}

std::vector<Http2Client::Id> IntegrationTest::open_watches(Http2Client& client, std::size_t count,
                                                           const FieldList& fields) {
  const std::string revision = apisim->get("/counters").find("revision")->to_string();
  std::vector<Http2Client::Id> watches;
  for (std::size_t i = 0; i < count; ++i) {
    watches.push_back(client.ask(
        {.path = "/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=" + revision,
         .fields = fields}));
  }
  for (const Http2Client::Id id : watches) EXPECT_EQ(client.wait_head(id).status, 200);
  return watches;
}

bool IntegrationTest::eventually(const std::function<bool()>& done, Duration timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  while (!done()) {
    if (Clock::now() >= deadline) return false;
    loop->run_for(poll_interval);
  }
  return true;
}

bool sanitized() { return std::getenv("SLUICE_SANITIZED") != nullptr; }

std::size_t allowance(std::size_t bytes) { return sanitized() ? 8 * bytes : bytes; }

double max_over_mean(const std::vector<std::uint64_t>& counts) {
  const std::uint64_t sum = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
  const std::uint64_t most = *std::max_element(counts.begin(), counts.end());
  return static_cast<double>(most) * static_cast<double>(counts.size()) / static_cast<double>(sum);
}

}  // namespace sluice::test
