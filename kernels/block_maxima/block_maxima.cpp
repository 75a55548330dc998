#include "kernels/block_maxima/block_maxima.hpp"

#include "kernels/base/check.hpp"

namespace troupe::kernels {

void fill_block_maxima(isa set, std::span<const float> values, std::span<float> maxima) {
  TROUPE_CHECK(maxima.size() == (values.size() + maxima_block - 1) / maxima_block);
  const std::size_t whole = values.size() / maxima_block;
  switch (set) {
    case isa::bf16_reference:
    case isa::reference: detail::block_maxima_ref(values.data(), whole, maxima.data()); break;
    case isa::avx2: detail::block_maxima_avx2(values.data(), whole, maxima.data()); break;
    case isa::amx:
    case isa::avx512: detail::block_maxima_avx512(values.data(), whole, maxima.data()); break;
  }
  if (whole < maxima.size()) {
    const auto rest = values.subspan(whole * maxima_block);
    maxima[whole] = detail::largest_value(rest.data(), rest.size());
  }
}

}  // namespace troupe::kernels
