// What the AMX variant of matmul and its specification share: the layout of rows in bf16, and the
// powers of two that keep f16 and bf16 in their ranges. Plain data only (see packed_layout.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::kernels {

/// One group of 32 columns of up to 16 rows, a register tile: of each four columns 0, 2, 1, 3, as
/// that is the order in which a panel's nibbles become words. Times bf16_activation_factor.
struct alignas(64) bf16_group {
  std::uint16_t values[16][32];
};

/// Where a group's column stands, and the column that stands there.
inline constexpr std::size_t bf16_place(std::size_t column) {
  const std::size_t in_quad = column % 4;
  return in_quad == 1 || in_quad == 2 ? column ^ 3 : column;
}

/// As much as ordinary weights bear: up to 255 they stay below the largest f16, and what is below
/// 2^-22 counts as zero. A matrix with larger ones gets a smaller shift.
inline constexpr int bf16_scale_shift_max = 8;
/// Weights are multiplied as w * 2^(scale_shift - 112): what an f16's fields mean as those of a
/// bf16. Activations take that back, which leaves them 2^24 to the end of their range; with a
/// smaller shift, outputs what is missing.
inline constexpr float bf16_activation_factor = 0x1p104f;

}  // namespace troupe::kernels
