// Reads numbers and strings from bytes that nobody vouches for, and never leaves them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "kernels/base/result.hpp"

namespace troupe {

// A position in the bytes that cannot leave them.
class byte_cursor {
 public:
  explicit byte_cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] std::size_t position() const { return position_; }
  [[nodiscard]] std::size_t left() const { return bytes_.size() - position_; }

  template <class T>
  result<T> read(std::string_view what) {
    TROUPE_TRY(const std::byte* source, take(sizeof(T), what));
    T value{};
    std::memcpy(&value, source, sizeof value);
    return value;
  }

  result<std::string> read_string(std::uint64_t bytes_max, std::string_view what) {
    TROUPE_TRY(const auto size, read<std::uint64_t>(what));
    if (size > bytes_max) {
      return failure(fmt::format("{} at byte {} claims {} bytes; at most {} are allowed", what,
                                 position_ - sizeof size, size, bytes_max));
    }
    TROUPE_TRY(const std::byte* source, take(static_cast<std::size_t>(size), what));
    return std::string(reinterpret_cast<const char*>(source), static_cast<std::size_t>(size));
  }

 private:
  static error failure(std::string message) { return {errc::corrupt, std::move(message)}; }
  result<const std::byte*> take(std::size_t size, std::string_view what) {
    if (size > left()) {
      return failure(fmt::format(
          "truncated: {} at byte {} needs {} bytes and {} are left; fetch the file again", what,
          position_, size, left()));
    }
    const std::byte* source = bytes_.data() + position_;
    position_ += size;
    return source;
  }

  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

}  // namespace troupe
