// SPDX-License-Identifier: GPL-3.0-or-later
// The provided-buffer ring.
#include "receive_buffers.h"

#include <sys/mman.h>

#include <bit>
#include <cerrno>

#include "sluice/base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#define SLUICE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLUICE_ASAN 1
#endif
#endif
#ifdef SLUICE_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace sluice::io {
namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

void poison([[maybe_unused]] const std::uint8_t* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef SLUICE_ASAN
  __asan_poison_memory_region(memory, bytes);
#endif
}

void unpoison([[maybe_unused]] const std::uint8_t* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef SLUICE_ASAN
  __asan_unpoison_memory_region(memory, bytes);
#endif
}

}  // namespace

ReceiveBuffers::ReceiveBuffers(io_uring& ring, std::uint32_t count, std::uint32_t buffer_bytes)
    : ring_(ring), count_(count), buffer_bytes_(buffer_bytes), taken_(count, false) {}

Result<std::unique_ptr<ReceiveBuffers>> ReceiveBuffers::create(io_uring& ring, std::uint32_t count,
                                                               std::uint32_t buffer_bytes) {
  CHECK(std::has_single_bit(count));
  CHECK_LE(count, 32768U);
  CHECK_GT(buffer_bytes, 0U);
  std::unique_ptr<ReceiveBuffers> buffers(new ReceiveBuffers(ring, count, buffer_bytes));
  const std::size_t bytes = static_cast<std::size_t>(count) * buffer_bytes;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail_errno("memory for receive buffers", errno);
  buffers->memory_ = static_cast<std::uint8_t*>(memory);
  buffers->memory_bytes_ = bytes;
  // The kernel walks through all buffers in turn: large pages keep that from missing the TLB. Only
  // advice; without it everything works.
  if (bytes >= huge_page_bytes) (void)::madvise(memory, bytes, MADV_HUGEPAGE);

  // Mapped here and not by the library, whose system calls of its own a thread sanitizer does not
  // see: it would take a mapping at an address that was another thread's for one that is shared.
  const std::size_t entries_bytes = count * sizeof(io_uring_buf);
  void* entries =
      ::mmap(nullptr, entries_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (entries == MAP_FAILED) return fail_errno("memory for the buffer ring", errno);
  buffers->entries_ = static_cast<io_uring_buf_ring*>(entries);
  buffers->entries_bytes_ = entries_bytes;
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(entries);
  registration.ring_entries = count;
  registration.bgid = group;
  if (const int error = io_uring_register_buf_ring(&ring, &registration, 0); error != 0) {
    if (error == -EINVAL) {
      return fail(ErrorKind::unavailable,
                  "this kernel has no provided-buffer rings for io_uring; Linux 6.1 or newer is "
                  "needed");
    }
    return fail_errno("io_uring buffer ring", -error);
  }
  buffers->registered_ = true;
  io_uring_buf_ring_init(buffers->entries_);
  for (std::uint32_t id = 0; id < count; ++id) {
    io_uring_buf_ring_add(buffers->entries_, buffers->at(static_cast<std::uint16_t>(id)),
                          buffer_bytes, static_cast<std::uint16_t>(id),
                          io_uring_buf_ring_mask(count), static_cast<int>(id));
  }
  poison(buffers->memory_, bytes);
  io_uring_buf_ring_advance(buffers->entries_, static_cast<int>(count));
  return buffers;
}

ReceiveBuffers::~ReceiveBuffers() {
  DCHECK(taken_count_ == 0);
  if (registered_) (void)io_uring_unregister_buf_ring(&ring_, group);
  if (entries_ != nullptr) (void)::munmap(entries_, entries_bytes_);
  if (memory_ != nullptr) {
    unpoison(memory_, memory_bytes_);
    (void)::munmap(memory_, memory_bytes_);
  }
}

Bytes ReceiveBuffers::take(std::uint16_t id, std::uint32_t bytes) {
  CHECK_LT(std::uint32_t{id}, count_);
  CHECK_LE(bytes, buffer_bytes_);
  CHECK(!taken_[id]);
  taken_[id] = true;
  ++taken_count_;
  unpoison(at(id), bytes);
  return {at(id), bytes};
}

void ReceiveBuffers::give_back(std::uint16_t id) {
  CHECK_LT(std::uint32_t{id}, count_);
  CHECK(taken_[id]);
  taken_[id] = false;
  --taken_count_;
  provide(id);
}

void ReceiveBuffers::provide(std::uint16_t id) {
  poison(at(id), buffer_bytes_);
  io_uring_buf_ring_add(entries_, at(id), buffer_bytes_, id, io_uring_buf_ring_mask(count_), 0);
  io_uring_buf_ring_advance(entries_, 1);
}

}  // namespace sluice::io
