#include "kernels/rope/rope.hpp"

#include <cmath>

namespace troupe::kernels {

void rope_table_row(std::span<const double> frequencies, std::size_t position, double factor,
                    float* cosines, float* sines) {
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies[i];
    cosines[i] = static_cast<float>(factor * std::cos(angle));
    sines[i] = static_cast<float>(factor * std::sin(angle));
  }
}

void rope(isa set, const rope_row& row) {
  switch (set) {
    case isa::bf16_reference:
    case isa::reference: return detail::rope_ref(row);
    case isa::avx2: return detail::rope_avx2(row);
    case isa::amx:
    case isa::avx512: return detail::rope_avx512(row);
  }
}

}  // namespace troupe::kernels
