#include "kernels/silu_mul/silu_mul.hpp"

namespace troupe::kernels {

void silu_mul(isa set, const float* gate, const float* up, std::size_t count, float* y) {
  switch (set) {
    case isa::bf16_reference:
    case isa::reference: return detail::silu_mul_ref(gate, up, count, y);
    case isa::avx2: return detail::silu_mul_avx2(gate, up, count, y);
    case isa::amx:
    case isa::avx512: return detail::silu_mul_avx512(gate, up, count, y);
  }
}

}  // namespace troupe::kernels
