#include "runtime/simulate/random_draws.hpp"

#include <cmath>
#include <numbers>

namespace troupe::simulate {

random_draws::random_draws(std::uint64_t seed, draw_stream stream)
    : words_(seed, static_cast<std::uint32_t>(stream)) {}

double random_draws::uniform() {
  const std::uint64_t bits = (std::uint64_t{words_.word()} << 32 | words_.word()) >> 11;
  return (static_cast<double>(bits) + 0.5) * 0x1p-53;
}

double random_draws::exponential() {
  return -std::log(uniform());
}

// Box and Muller, 1958.
double random_draws::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_normal_;
  }
  const double radius = std::sqrt(2.0 * exponential());
  const double angle = 2.0 * std::numbers::pi * uniform();
  spare_normal_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

// Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 2000; below shape
// 1 by their section 6.
double random_draws::gamma(double shape) {
  if (shape < 1.0) return gamma(shape + 1.0) * std::pow(uniform(), 1.0 / shape);
  const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = normal();
    const double v = std::pow(1.0 + c * x, 3.0);
    if (v > 0.0 && std::log(uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

}  // namespace troupe::simulate
