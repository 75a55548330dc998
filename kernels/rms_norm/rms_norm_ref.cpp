#include <cmath>

#include "kernels/rms_norm/rms_norm.hpp"

namespace troupe::kernels::detail {

void rms_norm_ref(const rms_norm_rows& rows) {
  for (std::size_t row = 0; row < rows.row_count; ++row) {
    const float* const x = rows.x + row * rows.x_stride;
    float* const y = rows.y + row * rows.y_stride;
    float lanes[16] = {};
    for (std::size_t i = 0; i < rows.count; ++i) {
      lanes[i % 16] = std::fma(x[i], x[i], lanes[i % 16]);
    }
    for (std::size_t half = 8; half >= 1; half /= 2) {
      for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    const float mean = lanes[0] / static_cast<float>(rows.count);
    const float scale = 1.0f / std::sqrt(mean + rows.epsilon);
    for (std::size_t i = 0; i < rows.count; ++i) y[i] = x[i] * scale * rows.weight[i];
  }
}

}  // namespace troupe::kernels::detail
