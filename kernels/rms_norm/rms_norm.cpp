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

}  // namespace troupe::kernels
