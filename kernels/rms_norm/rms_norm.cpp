#include "kernels/rms_norm/rms_norm.hpp"

namespace troupe::kernels {

void rms_norm(isa set, const rms_norm_rows& rows) {
  switch (set) {
    case isa::bf16_reference:
    case isa::reference: return detail::rms_norm_ref(rows);
    case isa::avx2: return detail::rms_norm_avx2(rows);
    case isa::amx:
    case isa::avx512: return detail::rms_norm_avx512(rows);
  }
}

void add_row(isa set, float* x, const float* delta, std::size_t count) {
  switch (set) {
    case isa::bf16_reference:
    case isa::reference: return detail::add_row_ref(x, delta, count);
    case isa::avx2: return detail::add_row_avx2(x, delta, count);
    case isa::amx:
    case isa::avx512: return detail::add_row_avx512(x, delta, count);
  }
}

}  // namespace troupe::kernels
