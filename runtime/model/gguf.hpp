// A GGUF file (v2 or v3), memory-mapped read-only. Every count, length, offset, dimension product
// and alignment is checked before use: a truncated or forged file is one clear error, never a
// crash. Format: ggml docs/gguf.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/base/dtype.hpp"
#include "kernels/base/result.hpp"

namespace troupe {

/// A metadata value. Integers widen to 64 bits; arrays hold one element kind. Arrays of arrays are
/// refused as unsupported (no known model uses them).
using gguf_value =
    std::variant<bool, std::int64_t, std::uint64_t, double, std::string, std::vector<bool>,
                 std::vector<std::int64_t>, std::vector<std::uint64_t>, std::vector<double>,
                 std::vector<std::string>>;

/// Kinds of gguf_value from this index on are arrays.
inline constexpr std::size_t gguf_first_array_index = 5;

struct gguf_entry {
  std::string key;
  gguf_value value;
};

struct gguf_tensor {
  std::string name;
  dtype type = dtype::f32;
  std::vector<std::uint64_t>
      dimensions;                   ///< ggml order: dimensions[0] is the contiguous one (columns)
  std::span<const std::byte> data;  ///< inside the mapping, whole rows, checked length

  [[nodiscard]] std::uint64_t column_count() const {
    return dimensions.empty() ? 0 : dimensions[0];
  }
  [[nodiscard]] std::uint64_t row_count() const {  ///< product of the other dimensions
    std::uint64_t rows = 1;
    for (std::size_t i = 1; i < dimensions.size(); ++i) rows *= dimensions[i];
    return rows;
  }
};

class gguf_file {
 public:
  /// Maps and validates the file. Errors: not_found, unavailable (no permission), invalid_argument
  /// (a folder or device), out_of_memory (no address space), corrupt, unsupported.
  static result<gguf_file> open(const std::filesystem::path& path);
  /// The same for bytes in memory (tests, fuzzing); the bytes must outlive the object. Tensor data
  /// is as aligned as the bytes are, so align their start to 64 where kernels will read it.
  static result<gguf_file> parse(std::span<const std::byte> bytes, std::string_view name);

  gguf_file(gguf_file&&) noexcept;
  gguf_file& operator=(gguf_file&&) noexcept;
  ~gguf_file();

  [[nodiscard]] std::uint32_t version() const noexcept;
  [[nodiscard]] std::uint64_t size_bytes() const noexcept;
  [[nodiscard]] std::string_view name() const noexcept;  ///< the path, or the name given to parse
  [[nodiscard]] std::span<const gguf_entry> entries() const noexcept;   ///< in file order
  [[nodiscard]] std::span<const gguf_tensor> tensors() const noexcept;  ///< in file order

  /// nullptr when absent.
  [[nodiscard]] const gguf_value* find(std::string_view key) const noexcept;
  [[nodiscard]] const gguf_tensor* find_tensor(std::string_view name) const noexcept;

  /// Typed access that names the key in its error: not_found when absent, corrupt on another kind.
  /// Any integer kind is taken where it fits; get_double takes integers too.
  result<std::uint64_t> get_unsigned(std::string_view key) const;
  result<double> get_double(std::string_view key) const;
  result<bool> get_bool(std::string_view key) const;
  result<std::string> get_string(std::string_view key) const;
  /// The array itself, without a copy; same errors.
  result<const std::vector<std::string>*> get_strings(std::string_view key) const;

  /// A 64-bit hash over metadata and the tensors' names, shapes and data (every byte of the file):
  /// the start of every prefix-cache hash. Computed once, at the first call; safe from several
  /// threads.
  [[nodiscard]] std::uint64_t fingerprint() const;

  /// Pages that were read stop counting as this process's memory, for once most will not be read
  /// again; those that are come back from the system's cache or the file. Spans stay valid.
  void release_pages() const;

 private:
  struct state;
  explicit gguf_file(std::unique_ptr<state> owned);
  std::unique_ptr<state> state_;
};

}  // namespace troupe
