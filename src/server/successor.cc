// SPDX-License-Identifier: GPL-3.0-or-later
// Starting the process that takes over.
//
// Between fork and exec there is one thread of several, with locks that others may hold: nothing
// is called there but what signal-safety(7) allows, and all memory is prepared before. vfork(2)
// does not copy page tables, for which workers would have to wait; only this thread stands still.
#include "successor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <utility>

#include "sluice/server/process_start.h"
#include "sluice/server/take_over_link.h"
#include "systemd.h"

namespace sluice::server {
namespace {

constexpr int first_descriptor = 3;  // SD_LISTEN_FDS_START
constexpr std::size_t pid_digits_max = 20;

// Memory for all that happens between fork and exec.
struct Launch {
  const char* path = nullptr;
  std::vector<char*> arguments;    // ends with null
  std::vector<char*> environment;  // the same
  std::vector<char*> pid_places;   // in it, with room for the digits
  std::vector<int> descriptors;    // to be first_descriptor and following
  int report = -1;                 // where its Reports go; closed by exec
  // The same in the new process's own table of descriptors. This memory is all three processes'.
  std::vector<int> moved;
  int moved_report = -1;
};

struct Report {
  enum class Of : int { process, failure } of;
  int number;  // the process's; errno
};

void report(int descriptor, Report::Of of, int number) {
  const Report said{of, number};
  (void)!::write(descriptor, &said, sizeof said);
}

void write_pid(const Launch& launch) {
  std::array<char, pid_digits_max> digits;
  std::size_t count = 0;
  for (auto rest = static_cast<unsigned>(::getpid()); rest > 0; rest /= 10) {
    digits[count++] = static_cast<char>('0' + rest % 10);
  }
  for (char* place : launch.pid_places) {
    for (std::size_t i = 0; i < count; ++i) place[i] = digits[count - 1 - i];
    place[count] = '\0';
  }
}

int moved_above(int descriptor, int end) {
  return descriptor < end ? ::fcntl(descriptor, F_DUPFD_CLOEXEC, end) : descriptor;
}

// Moves what is handed over to the numbers where it is expected.
bool arrange_descriptors(Launch& launch) {
  const int end = first_descriptor + static_cast<int>(launch.descriptors.size());
  launch.moved_report = moved_above(launch.report, end);
  if (launch.moved_report < 0) {
    launch.moved_report = launch.report;
    return false;
  }
  for (std::size_t i = 0; i < launch.descriptors.size(); ++i) {
    launch.moved[i] = moved_above(launch.descriptors[i], end);
    if (launch.moved[i] < 0) return false;
  }
  for (std::size_t i = 0; i < launch.moved.size(); ++i) {
    // Which takes close-on-exec off the copy.
    if (::dup2(launch.moved[i], first_descriptor + static_cast<int>(i)) < 0) return false;
  }
  return true;
}

void default_signals() {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Neither this nor fork_again may become a part of its caller: it runs on its stack, and would
// write over what the caller keeps in its own frame for when it goes on.
[[noreturn, gnu::noinline]] void become(Launch& launch) {
  write_pid(launch);
  if (arrange_descriptors(launch)) {
    default_signals();
    ::execve(launch.path, launch.arguments.data(), launch.environment.data());
  }
  report(launch.moved_report, Report::Of::failure, errno);
  ::_exit(127);
}

// Its end makes an orphan of the new process.
[[noreturn, gnu::noinline]] void fork_again(Launch& launch) {
  const pid_t process = ::vfork();  // NOLINT: see above
  if (process == 0) become(launch);
  report(launch.report, process > 0 ? Report::Of::process : Report::Of::failure,
         process > 0 ? process : errno);
  ::_exit(0);
}

[[gnu::noinline]] Result<void> fork_twice(Launch& launch) {
#ifdef __SANITIZE_ADDRESS__
  // Its vfork keeps the way back in one place, which the second one would write over.
  const pid_t process = ::fork();
#else
  const pid_t process = ::vfork();  // NOLINT: see above
#endif
  if (process == 0) fork_again(launch);
  if (process < 0) return fail_errno("fork", errno);
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  return {};
}

// Until the new process runs its program, or cannot.
Result<pid_t> read_reports(int descriptor, const std::string& path) {
  pid_t process = 0;
  std::optional<int> failure;
  Report said{};
  ssize_t size = 0;
  while ((size = ::read(descriptor, &said, sizeof said)) != 0) {
    if (size != sizeof said) {
      if (errno == EINTR) continue;
      break;
    }
    said.of == Report::Of::process ? process = said.number : failure.emplace(said.number);
  }
  if (failure) return fail_errno(fmt::format("{} cannot be started", path), *failure);
  if (process <= 0) return fail(ErrorKind::system, path + " was not started");
  return process;
}

Result<OwnedDescriptor> file_of(const std::string& text) {
  OwnedDescriptor file(::memfd_create("sluice-state", MFD_CLOEXEC));
  if (file.get() < 0) return fail_errno("memfd_create", errno);
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t size = ::write(file.get(), text.data() + done, text.size() - done);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return fail_errno("what is known of tokens cannot be handed over", errno);
    done += static_cast<std::size_t>(size);
  }
  return file;
}

class Process final : public Successor {
 public:
  Process(pid_t pid, OwnedDescriptor handle, int link)
      : pid_(pid), handle_(std::move(handle)), link_(link) {}
  pid_t pid() const override { return pid_; }
  bool say(std::string_view word) override { return link_.say(word); }
  std::optional<std::string> hear() override { return link_.hear(); }
  bool gone() const override { return link_.gone(); }
  void end() override {
    if (handle_.get() < 0 || link_.gone()) return;
    (void)::syscall(SYS_pidfd_send_signal, handle_.get(), SIGKILL, nullptr, 0);
  }

 private:
  pid_t pid_;
  OwnedDescriptor handle_;
  TakeOverLink link_;
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

}  // namespace

std::vector<std::string> successor_environment(std::span<const char* const> ours,
                                               std::size_t sockets, std::size_t cluster_sockets,
                                               bool watched) {
  std::vector<std::string> environment;
  for (const std::string_view variable : ours) {
    if (variable.starts_with("LISTEN_FDS=") || variable.starts_with("LISTEN_PID=") ||
        variable.starts_with("LISTEN_PIDFDID=") || variable.starts_with("LISTEN_FDNAMES=") ||
        (watched && variable.starts_with("WATCHDOG_PID="))) {
      continue;
    }
    environment.emplace_back(variable);
  }
  std::string names = "LISTEN_FDNAMES=";
  for (std::size_t i = 0; i < sockets; ++i) names.append(listening_name).append(":");
  for (std::size_t i = 0; i < cluster_sockets; ++i) {
    names.append(cluster_listening_name).append(":");
  }
  names.append(state_name).append(":").append(link_name);
  environment.push_back(std::move(names));
  environment.push_back(fmt::format("LISTEN_FDS={}", sockets + cluster_sockets + 2));
  environment.emplace_back("LISTEN_PID=");
  if (watched) environment.emplace_back("WATCHDOG_PID=");
  return environment;
}

Result<std::unique_ptr<Successor>> start_successor(const SuccessorPlan& plan) {
  // Its orphan would be ours again, and end with us.
  if (::getpid() == 1) {
    return fail(ErrorKind::unavailable,
                "process 1 cannot be taken over from: all others end with it");
  }
  auto state = file_of(plan.state);
  if (!state) return std::unexpected(state.error());
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    return fail_errno("socketpair", errno);
  }
  OwnedDescriptor ours(pair[0]);
  OwnedDescriptor theirs(pair[1]);
  if (::pipe2(pair.data(), O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  const OwnedDescriptor reports(pair[0]);
  OwnedDescriptor report(pair[1]);

  std::vector<std::string> arguments = plan.arguments;
  std::size_t variables = 0;
  while (environ[variables] != nullptr) ++variables;
  std::vector<std::string> environment =
      successor_environment({environ, variables}, plan.sockets.size(), plan.cluster_sockets.size(),
                            watchdog_interval().has_value());
  Launch launch;
  launch.path = plan.path.c_str();
  for (std::string& variable : environment) {
    if (variable != "LISTEN_PID=" && variable != "WATCHDOG_PID=") continue;
    const std::size_t at = variable.size();
    variable.resize(at + pid_digits_max + 1);
    launch.pid_places.push_back(variable.data() + at);
  }
  launch.arguments = pointers(arguments);
  launch.environment = pointers(environment);
  launch.descriptors = plan.sockets;
  launch.descriptors.insert(launch.descriptors.end(), plan.cluster_sockets.begin(),
                            plan.cluster_sockets.end());
  launch.descriptors.push_back(state->get());
  launch.descriptors.push_back(theirs.get());
  launch.report = report.get();
  launch.moved.resize(launch.descriptors.size());
  if (auto forked = fork_twice(launch); !forked) return std::unexpected(forked.error());
  report = {};
  theirs = {};
  auto process = read_reports(reports.get(), plan.path);
  if (!process) return std::unexpected(process.error());
  OwnedDescriptor handle(static_cast<int>(::syscall(SYS_pidfd_open, *process, 0)));
  // While its end of the link is open its number is not another's.
  pollfd look{.fd = ours.get(), .events = 0, .revents = 0};
  if (::poll(&look, 1, 0) != 0) handle = {};
  return std::make_unique<Process>(*process, std::move(handle), ours.release());
}

}  // namespace sluice::server
