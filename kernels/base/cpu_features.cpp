#include "kernels/base/cpu_features.hpp"

#include <string>

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace troupe {

namespace {

// Linux saves the 8 KiB of tile registers only for processes that have asked (arch_prctl(2)); the
// right extends to all of its threads.
bool may_use_tile_registers() noexcept {
#if defined(__linux__) && defined(__x86_64__)
  constexpr int request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int tile_data = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

}  // namespace

const cpu_features& detect_cpu_features() noexcept {
  // __builtin_cpu_supports checks XCR0 too, so a set bit means that the OS saves the registers.
  static const cpu_features features = [] {
    __builtin_cpu_init();
    cpu_features found;
    found.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                 __builtin_cpu_supports("f16c");
    found.avx512 = found.avx2 && __builtin_cpu_supports("avx512f") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    found.avx512_bf16 = found.avx512 && __builtin_cpu_supports("avx512bf16");
    found.amx = found.avx512 && __builtin_cpu_supports("amx-tile") &&
                __builtin_cpu_supports("amx-bf16") && found.avx512_bf16 &&
                __builtin_cpu_supports("avx512fp16") && __builtin_cpu_supports("avx512vbmi") &&
                may_use_tile_registers();
    found.amx_int8 = found.amx && __builtin_cpu_supports("amx-int8");
    found.adds_beside_products = found.avx512 && __builtin_cpu_is("amd");
    found.reads_ahead_for_free = found.avx2 && __builtin_cpu_is("amd");
    return found;
  }();
  return features;
}

bool is_supported(isa set) noexcept {
  switch (set) {
    case isa::reference:
    case isa::bf16_reference: return true;
    case isa::avx2: return detect_cpu_features().avx2;
    case isa::avx512: return detect_cpu_features().avx512;
    case isa::amx: return detect_cpu_features().amx;
  }
  return false;
}

isa fastest_isa(isa specification) noexcept {
  if (multiplies_in_bf16(specification))
    return is_supported(isa::amx) ? isa::amx : isa::bf16_reference;
  if (is_supported(isa::avx512)) return isa::avx512;
  if (is_supported(isa::avx2)) return isa::avx2;
  return isa::reference;
}

isa best_isa() noexcept {
  return is_supported(isa::amx) ? isa::amx : fastest_isa(isa::reference);
}

result<isa> parse_isa(std::string_view text) {
  if (text == "auto") return best_isa();
  for (const isa set : all_isas) {
    if (text != to_string(set)) continue;
    if (is_supported(set)) return set;
    return error{errc::unsupported,
                 "this machine cannot run the instruction set '" + std::string(text) +
                     "'; use 'auto' (here: " + std::string(to_string(best_isa())) + ")"};
  }
  return error{errc::invalid_argument,
               "unknown instruction set '" + std::string(text) +
                   "'; known: auto, reference, avx2, avx512, amx, bf16_reference"};
}

}  // namespace troupe
