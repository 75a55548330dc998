#include "kernels/base/cpu_features.hpp"

#include <string>

namespace troupe {

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
    return found;
  }();
  return features;
}

bool is_supported(isa set) noexcept {
  switch (set) {
    case isa::reference: return true;
    case isa::avx2: return detect_cpu_features().avx2;
    case isa::avx512: return detect_cpu_features().avx512;
  }
  return false;
}

isa best_isa() noexcept {
  if (is_supported(isa::avx512)) return isa::avx512;
  if (is_supported(isa::avx2)) return isa::avx2;
  return isa::reference;
}

result<isa> parse_isa(std::string_view text) {
  if (text == "auto") return best_isa();
  for (const isa set : {isa::reference, isa::avx2, isa::avx512}) {
    if (text != to_string(set)) continue;
    if (is_supported(set)) return set;
    return error{errc::unsupported,
                 "this machine cannot run the instruction set '" + std::string(text) +
                     "'; use 'auto' (here: " + std::string(to_string(best_isa())) + ")"};
  }
  return error{errc::invalid_argument, "unknown instruction set '" + std::string(text) +
                                           "'; known: auto, reference, avx2, avx512"};
}

}  // namespace troupe
