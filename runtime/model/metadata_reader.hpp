// Reads the keys of one architecture ("llama.block_count") and checks each against an interval, so
// that every number that leaves here is usable without a second look.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/base/result.hpp"
#include "runtime/model/gguf.hpp"

namespace troupe {

class metadata_reader {
 public:
  metadata_reader(const gguf_file& file, std::string architecture)
      : file_(file), architecture_(std::move(architecture)) {}

  [[nodiscard]] const gguf_file& file() const noexcept { return file_; }
  [[nodiscard]] const std::string& architecture() const noexcept { return architecture_; }
  [[nodiscard]] std::string key(std::string_view suffix) const;
  [[nodiscard]] bool has(std::string_view suffix) const;

  /// An integer in 1 .. maximum. Errors: not_found when absent without a fallback, corrupt out of
  /// range or of another kind, unsupported for an array (a value for each layer).
  result<std::size_t> get_size(std::string_view suffix, std::uint64_t maximum,
                               std::optional<std::uint64_t> fallback = std::nullopt) const;

  /// A finite number with 0 < value <= maximum. The same errors.
  result<double> get_positive(std::string_view suffix, double maximum,
                              std::optional<double> fallback = std::nullopt) const;

 private:
  result<> refuse_array(std::string_view suffix) const;

  const gguf_file& file_;
  std::string architecture_;
};

}  // namespace troupe
