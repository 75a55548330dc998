// Which instruction sets this machine and its operating system offer, and which one to use.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/base/result.hpp"

namespace troupe {

/// The variants that every CPU kernel is written in. Order is by speed.
enum class isa : std::uint8_t {
  reference,  ///< plain loops, the specification
  avx2,       ///< AVX2 + FMA + F16C
  avx512,     ///< AVX-512 F/BW/DQ/VL + VNNI (BF16 where a kernel says so)
};

constexpr std::string_view to_string(isa set) noexcept {
  switch (set) {
    case isa::reference: return "reference";
    case isa::avx2: return "avx2";
    case isa::avx512: return "avx512";
  }
  return "reference";
}

struct cpu_features {
  bool avx2 = false;         ///< AVX2, FMA and F16C, saved by the OS
  bool avx512 = false;       ///< F, BW, DQ, VL and VNNI, saved by the OS
  bool avx512_bf16 = false;  ///< VDPBF16PS
};

/// Asks CPUID and XGETBV once; later calls return the same answer.
const cpu_features& detect_cpu_features() noexcept;

/// True where the machine can run the variant.
bool is_supported(isa set) noexcept;

/// The fastest supported variant.
isa best_isa() noexcept;

/// Parses "auto", "reference", "avx2" or "avx512"; an error when the machine cannot run it.
result<isa> parse_isa(std::string_view text);

}  // namespace troupe
