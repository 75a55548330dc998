#include "kernels/exp/exp.hpp"

namespace troupe::kernels {

void exp_row(isa set, const float* x, std::size_t count, float* y) {
  switch (set) {
    case isa::bf16_reference:
    case isa::reference: return detail::exp_row_ref(x, count, y);
    case isa::avx2: return detail::exp_row_avx2(x, count, y);
    case isa::amx:
    case isa::avx512: return detail::exp_row_avx512(x, count, y);
  }
}

}  // namespace troupe::kernels
