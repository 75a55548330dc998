// F8 E4M3 (OCP 8-bit floating point, section 5): 4 exponent bits with bias 7, 3 mantissa bits, no
// infinity, and NaN only where all seven magnitude bits are set.
#pragma once

#include <bit>
#include <cstdint>

namespace troupe::kernels {

constexpr float f8_e4m3_to_float(std::uint8_t value) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(value & 0x80u) << 24;
  const std::uint32_t exponent = (value >> 3) & 0x0Fu;
  const std::uint32_t mantissa = value & 0x07u;
  if ((value & 0x7Fu) == 0x7Fu) return std::bit_cast<float>(sign | 0x7FC00000u);
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 120) << 23) | (mantissa << 20));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace troupe::kernels
