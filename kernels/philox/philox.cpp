#include "kernels/philox/philox.hpp"

namespace troupe::kernels {

void make_philox(isa set, const philox_counter& first, const philox_key& key, philox_sixteen& out) {
  switch (set) {
    case isa::bf16_reference:
    case isa::reference: return detail::make_philox_ref(first, key, out);
    case isa::avx2: return detail::make_philox_avx2(first, key, out);
    case isa::amx:
    case isa::avx512: return detail::make_philox_avx512(first, key, out);
  }
}

}  // namespace troupe::kernels
