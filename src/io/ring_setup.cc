// SPDX-License-Identifier: GPL-3.0-or-later
// Flags, restrictions and refusals of io_uring_setup(2).
#include "ring_setup.h"

#include <sys/resource.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "sluice/base/check.h"

namespace sluice::io {
namespace {

std::optional<std::int64_t> read_number(const char* path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

// In descending order of what they offer. SUBMIT_ALL: one refused operation does not hold up the
// others. TASKRUN_FLAG: the library sees that it has to enter to get completions.
constexpr std::uint32_t common_flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
                                       IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED |
                                       IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
constexpr std::array<std::uint32_t, 3> flag_ladder = {
    common_flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
    common_flags | IORING_SETUP_SINGLE_ISSUER,
    common_flags,
};

// Must name everything that ring.cc submits and everything that is unregistered at the end.
constexpr std::array allowed_operations = {IORING_OP_ACCEPT,   IORING_OP_RECV,
                                           IORING_OP_SEND,     IORING_OP_CONNECT,
                                           IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL};
constexpr std::array allowed_registrations = {IORING_REGISTER_RING_FDS, IORING_UNREGISTER_RING_FDS,
                                              IORING_UNREGISTER_PBUF_RING};
constexpr std::uint8_t allowed_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;

bool restrict_ring(io_uring& ring) {
  std::array<io_uring_restriction, allowed_operations.size() + allowed_registrations.size() + 1>
      rules{};
  std::size_t count = 0;
  for (const auto operation : allowed_operations) {
    rules[count].opcode = IORING_RESTRICTION_SQE_OP;
    rules[count++].sqe_op = static_cast<std::uint8_t>(operation);
  }
  for (const auto registration : allowed_registrations) {
    rules[count].opcode = IORING_RESTRICTION_REGISTER_OP;
    rules[count++].register_op = static_cast<std::uint8_t>(registration);
  }
  rules[count].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
  rules[count++].sqe_flags = allowed_flags;
  return io_uring_register_restrictions(&ring, rules.data(), static_cast<unsigned>(count)) == 0;
}

}  // namespace

SetupEnvironment SetupEnvironment::read() {
  SetupEnvironment environment;
  if (const auto value = read_number("/proc/sys/kernel/io_uring_disabled")) {
    environment.io_uring_disabled = static_cast<int>(*value);
  }
  environment.allowed_group = read_number("/proc/sys/kernel/io_uring_group");
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    environment.locked_bytes = limit.rlim_cur;
  }
  return environment;
}

std::string explain_setup_failure(int error_number, const SetupEnvironment& environment) {
  switch (error_number) {
    case ENOSYS:
      return "this kernel has no io_uring (io_uring_setup: ENOSYS); Linux 6.1 or newer with "
             "CONFIG_IO_URING is needed";
    case EINVAL:
      return "this kernel's io_uring is too old for the way it is used here; Linux 6.1 or newer is "
             "needed";
    case EPERM:
    case EACCES:
      if (environment.io_uring_disabled == 2) {
        return "io_uring is switched off for everybody: sysctl kernel.io_uring_disabled is 2; set "
               "it to 0";
      }
      if (environment.io_uring_disabled == 1) {
        const std::string group = environment.allowed_group && *environment.allowed_group >= 0
                                      ? "is " + std::to_string(*environment.allowed_group)
                                      : std::string("names none");
        return "io_uring is for privileged processes only: sysctl kernel.io_uring_disabled is 1; "
               "run as a member of the group in kernel.io_uring_group (now it " +
               group + "), or set kernel.io_uring_disabled to 0";
      }
      return "io_uring is forbidden to this process, most likely by a seccomp filter of its "
             "container or unit; allow io_uring_setup, io_uring_enter and io_uring_register there";
    case ENOMEM: {
      const std::string limit = environment.locked_bytes
                                    ? std::to_string(*environment.locked_bytes / 1024) + " KB"
                                    : std::string("unlimited");
      return "no memory for io_uring: raise the limit of locked memory (RLIMIT_MEMLOCK, "
             "LimitMEMLOCK= in a unit; now " +
             limit + ") or the memory limit of the service";
    }
    case EMFILE:
    case ENFILE:
      return "no file descriptor is left for io_uring: raise the limit of open files "
             "(RLIMIT_NOFILE, LimitNOFILE= in a unit)";
    default: return std::string("io_uring could not be set up: ") + std::strerror(error_number);
  }
}

Result<RingFacts> set_up_ring(io_uring& ring, const RingOptions& options) {
  CHECK(std::has_single_bit(options.submission_entries));
  CHECK_GE(options.completion_entries, options.submission_entries);
  int error = -EINVAL;
  std::uint32_t flags = 0;
  for (const std::uint32_t candidate : flag_ladder) {
    io_uring_params parameters{};
    parameters.flags = candidate;
    parameters.cq_entries = options.completion_entries;
    flags = candidate;
    error = io_uring_queue_init_params(options.submission_entries, &ring, &parameters);
    // EINVAL: a flag that this kernel does not know.
    if (error != -EINVAL) break;
  }
  if (error < 0) {
    return fail(ErrorKind::unavailable, explain_setup_failure(-error, SetupEnvironment::read()));
  }

  // All of these make things better, none is needed.
  (void)io_uring_ring_dontfork(&ring);
  // Sockets never need the kernel's worker threads; should something ever, it shall be one.
  std::array<unsigned, 2> workers = {1, 1};
  (void)io_uring_register_iowq_max_workers(&ring, workers.data());
  // An idle ring is no reason to show the core as waiting for I/O (Linux 6.15).
  (void)io_uring_set_iowait(&ring, false);

  return RingFacts{.deferred = (flags & IORING_SETUP_DEFER_TASKRUN) != 0};
}

Result<> enable_ring(io_uring& ring, RingFacts& facts) {
  facts.restricted = restrict_ring(ring);
  if (const int error = io_uring_enable_rings(&ring); error < 0) {
    return fail_errno("io_uring_enable_rings", -error);
  }
  // Saves the look-up of the descriptor at each enter. Only an optimisation.
  (void)io_uring_register_ring_fd(&ring);
  return {};
}

}  // namespace sluice::io
