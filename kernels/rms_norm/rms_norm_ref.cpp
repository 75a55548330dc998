#include <cmath>

#include "kernels/rms_norm/rms_norm.hpp"

namespace troupe::kernels::detail {

void add_row_ref(float* x, const float* delta, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) x[i] += delta[i];
}

void rms_norm_ref(const rms_norm_row& row) {
  float lanes[16] = {};
  for (std::size_t i = 0; i < row.count; ++i) {
    lanes[i % 16] = std::fma(row.x[i], row.x[i], lanes[i % 16]);
  }
  for (std::size_t half = 8; half >= 1; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  const float mean = lanes[0] / static_cast<float>(row.count);
  const float scale = 1.0f / std::sqrt(mean + row.epsilon);
  for (std::size_t i = 0; i < row.count; ++i) row.y[i] = row.x[i] * scale * row.weight[i];
}

}  // namespace troupe::kernels::detail
