// Which instruction sets this machine and its operating system offer, and which one to use.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/base/result.hpp"

namespace troupe {

/// The variants that every CPU kernel is written in. reference, avx2 and avx512 give the same bits,
/// and so do amx and bf16_reference. Part of what names stored blocks: no value gets another
/// meaning.
enum class isa : std::uint8_t {
  reference,  ///< plain loops, the specification
  avx2,       ///< AVX2 + FMA + F16C
  avx512,     ///< AVX-512 F/BW/DQ/VL + VNNI (BF16 and AMX_INT8 where a kernel says so)
  amx,        ///< AVX-512 with BF16, FP16, VBMI and AMX_BF16: matmul, and attention over a bf16
              ///< cache, in bf16; else as avx512
  bf16_reference,  ///< plain loops: the specification of what amx computes
};

inline constexpr isa all_isas[] = {isa::reference, isa::avx2, isa::avx512, isa::amx,
                                   isa::bf16_reference};

/// These multiply quantized weights with activations in bf16, the others in 8-bit integers; and a
/// bf16 cache in the order of tiles.
constexpr bool multiplies_in_bf16(isa set) noexcept {
  return set == isa::amx || set == isa::bf16_reference;
}

/// The plain loops whose bits a variant gives.
constexpr isa specification_of(isa set) noexcept {
  return multiplies_in_bf16(set) ? isa::bf16_reference : isa::reference;
}

constexpr std::string_view to_string(isa set) noexcept {
  switch (set) {
    case isa::reference: return "reference";
    case isa::avx2: return "avx2";
    case isa::avx512: return "avx512";
    case isa::amx: return "amx";
    case isa::bf16_reference: return "bf16_reference";
  }
  return "reference";
}

struct cpu_features {
  bool avx2 = false;         ///< AVX2, FMA and F16C, saved by the OS
  bool avx512 = false;       ///< F, BW, DQ, VL and VNNI, saved by the OS
  bool avx512_bf16 = false;  ///< VDPBF16PS
  bool amx = false;       ///< AVX-512 with BF16, FP16 and VBMI, AMX_BF16, and the kernel lets this
                          ///< process use them
  bool amx_int8 = false;  ///< amx, with AMX_INT8 too
  bool adds_beside_products = false;  ///< 512-bit additions and conversions have units of their
                                      ///< own, beside those that multiply (AMD)
  bool reads_ahead_for_free = false;  ///< lines asked for into L2 while something else is computed
                                      ///< cost that little (AMD; on a Xeon more than they gain)
};

/// Asks CPUID and XGETBV once, and the kernel for the process's right to AMX's registers; later
/// calls return the same answer.
const cpu_features& detect_cpu_features() noexcept;

/// True where the machine can run the variant.
bool is_supported(isa set) noexcept;

/// The fastest supported variant of those that give the bits of `specification`.
isa fastest_isa(isa specification) noexcept;

/// The one to use where none is named: amx where it is supported, although it computes single rows
/// slower than avx512, as prompts take half of the time and are rounded less.
isa best_isa() noexcept;

/// Parses "auto" or an instruction set's name; an error when the machine cannot run it.
result<isa> parse_isa(std::string_view text);

}  // namespace troupe
