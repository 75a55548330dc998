// Element types of tensors on disk and in memory, with the numbering that GGUF uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace troupe {

/// Values equal GGUF's tensor type codes (ggml docs/gguf.md); f8_e4m3 is our own.
enum class dtype : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30,
  f8_e4m3 = 1000,
};

struct dtype_layout {
  std::string_view name;       ///< as GGUF tools print it, e.g. "Q4_1"
  std::size_t block_elements;  ///< elements that share scales; rows are whole blocks
  std::size_t block_bytes;     ///< bytes of such a block
};

/// Layout of a known type; nullopt for a code that this build does not know.
constexpr std::optional<dtype_layout> layout_of(dtype type) noexcept {
  switch (type) {
    case dtype::f32: return dtype_layout{"F32", 1, 4};
    case dtype::f16: return dtype_layout{"F16", 1, 2};
    case dtype::bf16: return dtype_layout{"BF16", 1, 2};
    case dtype::q4_0: return dtype_layout{"Q4_0", 32, 18};
    case dtype::q4_1: return dtype_layout{"Q4_1", 32, 20};
    case dtype::q5_0: return dtype_layout{"Q5_0", 32, 22};
    case dtype::q5_1: return dtype_layout{"Q5_1", 32, 24};
    case dtype::q8_0: return dtype_layout{"Q8_0", 32, 34};
    case dtype::q4_k: return dtype_layout{"Q4_K", 256, 144};
    case dtype::q5_k: return dtype_layout{"Q5_K", 256, 176};
    case dtype::q6_k: return dtype_layout{"Q6_K", 256, 210};
    case dtype::f8_e4m3: return dtype_layout{"F8_E4M3", 1, 1};
  }
  return std::nullopt;
}

}  // namespace troupe
