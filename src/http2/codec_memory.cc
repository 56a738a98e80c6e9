// SPDX-License-Identifier: GPL-3.0-or-later
// The memory shared by the sessions of a worker.
#include "sluice/http2/codec_memory.h"

#include <cstdlib>
#include <utility>

#include "http2/codec_memory_impl.h"
#include "sluice/base/check.h"

namespace sluice::http2 {

namespace {

// A frame of 16384 bytes with its header: the only allocation of this size at creation.
constexpr std::size_t frame_buffer_bytes_min = 16384;

CodecMemory::Impl& impl_of(void* user_data) { return *static_cast<CodecMemory::Impl*>(user_data); }

void* shared_frame_buffer(CodecMemory::Impl& impl, std::size_t size) {
  if (impl.frame_buffer == nullptr) {
    impl.frame_buffer = std::make_unique<std::uint8_t[]>(size);
    impl.frame_buffer_bytes = size;
  }
  CHECK_EQ(impl.frame_buffer_bytes, size);
  return impl.frame_buffer.get();
}

void* hook_malloc(std::size_t size, void* user_data) {
  CodecMemory::Impl& impl = impl_of(user_data);
  if (impl.creating && size >= frame_buffer_bytes_min) [[unlikely]] {
    return shared_frame_buffer(impl, size);
  }
  return std::malloc(size);
}

void hook_free(void* p, void* user_data) {
  if (p == impl_of(user_data).frame_buffer.get()) return;
  std::free(p);
}

void* hook_calloc(std::size_t count, std::size_t size, void*) { return std::calloc(count, size); }

void* hook_realloc(void* p, std::size_t size, void* user_data) {
  if (p == nullptr) return hook_malloc(size, user_data);
  CHECK(p != impl_of(user_data).frame_buffer.get());
  return std::realloc(p, size);
}

}  // namespace

CodecMemory::Impl::Impl() {
  for (int i = 0; i < 16; ++i) roomy.add("a-field-name", "a value of usual length");
  // Copies of the list take its size as their capacity, also after they were cleared.
}

nghttp2_mem CodecMemory::Impl::hooks() {
  return {this, hook_malloc, hook_free, hook_calloc, hook_realloc};
}

std::unique_ptr<Stream> CodecMemory::Impl::take_stream() {
  if (free_streams.empty()) return std::make_unique<Stream>();
  std::unique_ptr<Stream> stream = std::move(free_streams.back());
  free_streams.pop_back();
  *stream = Stream{};
  return stream;
}

void CodecMemory::Impl::give_back(std::unique_ptr<Stream> stream) {
  if (free_streams.size() < streams_kept_max) free_streams.push_back(std::move(stream));
}

CodecMemory::CodecMemory() : impl_(std::make_unique<Impl>()) {}

CodecMemory::~CodecMemory() { CHECK_EQ(impl_->sessions, std::size_t{0}); }

std::size_t CodecMemory::sessions() const { return impl_->sessions; }

}  // namespace sluice::http2
