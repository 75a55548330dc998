// Turns the bytes of a GGUF file into checked entries and tensors. Internal to gguf.cpp and its
// tests; everybody else uses gguf.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/result.hpp"
#include "runtime/model/gguf.hpp"

namespace troupe {

struct gguf_contents {
  std::uint32_t version = 0;
  std::vector<gguf_entry> entries;   // in file order
  std::vector<gguf_tensor> tensors;  // in file order
  std::vector<std::size_t>
      entries_by_key;  // indices, sorted: lookup by bisection, no hash to flood
  std::vector<std::size_t> tensors_by_name;  // the same
};

/// Errors: corrupt (with the byte offset), unsupported. Messages do not name the file.
result<gguf_contents> parse_gguf(std::span<const std::byte> bytes);

/// Text from a file as it may appear in messages: quoted, unprintable bytes as \xNN, at most 80
/// bytes.
std::string printable(std::string_view text);

}  // namespace troupe
