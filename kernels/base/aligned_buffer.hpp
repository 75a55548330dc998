// An owned array on a 64-byte boundary (one cache line, one AVX-512 register), zero-filled.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>

#include "kernels/base/check.hpp"

namespace troupe {

inline constexpr std::size_t buffer_alignment_bytes = 64;

template <class T>
class aligned_buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  aligned_buffer() = default;
  /// Zero-filled. Ends the process when the allocator refuses: callers size buffers from checked
  /// limits.
  explicit aligned_buffer(std::size_t count) : count_(count) {
    if (count == 0) return;
    const std::size_t bytes = (count * sizeof(T) + buffer_alignment_bytes - 1) /
                              buffer_alignment_bytes * buffer_alignment_bytes;
    data_.reset(static_cast<T*>(std::aligned_alloc(buffer_alignment_bytes, bytes)));
    TROUPE_CHECK(data_ != nullptr);
    std::memset(static_cast<void*>(data_.get()), 0, bytes);
  }

  T* data() noexcept { return data_.get(); }
  const T* data() const noexcept { return data_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  T& operator[](std::size_t i) noexcept { return data_.get()[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_.get()[i]; }
  std::span<T> span() noexcept { return {data_.get(), count_}; }
  std::span<const T> span() const noexcept { return {data_.get(), count_}; }
  /// Grows without keeping the contents; never shrinks.
  void reserve_discarding(std::size_t count) {
    if (count > count_) *this = aligned_buffer(count);
  }

 private:
  struct free_deleter {
    void operator()(T* pointer) const noexcept { std::free(static_cast<void*>(pointer)); }
  };
  std::unique_ptr<T, free_deleter> data_;
  std::size_t count_ = 0;
};

}  // namespace troupe
