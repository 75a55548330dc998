// Memory to measure reading with, on pages of a chosen size and already touched.
#pragma once

#include <cstddef>

#include "kernels/base/result.hpp"

namespace troupe::bench {

enum class page_kind { small, huge };

class read_buffer {
 public:
  /// byte_count is rounded up to whole huge pages. Error: out_of_memory.
  static result<read_buffer> create(std::size_t byte_count, page_kind pages);
  read_buffer(read_buffer&& other) noexcept;
  read_buffer& operator=(read_buffer&& other) noexcept;
  ~read_buffer();

  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }
  /// What share of it the system really put on huge pages.
  [[nodiscard]] double huge_share() const;

 private:
  read_buffer(std::byte* data, std::size_t size_bytes) noexcept
      : data_(data), size_bytes_(size_bytes) {}
  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace troupe::bench
