#include "kernels/exp/exp.hpp"
#include "kernels/silu_mul/silu_mul.hpp"

namespace troupe::kernels::detail {

void silu_mul_ref(const float* gate, const float* up, std::size_t count, float* y) {
  for (std::size_t i = 0; i < count; ++i) {
    y[i] = gate[i] / (1.0f + exp_ref(-gate[i])) * up[i];
  }
}

}  // namespace troupe::kernels::detail
