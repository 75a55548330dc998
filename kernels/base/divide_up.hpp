// How many parts of a size cover something.
#pragma once

#include <cstddef>

namespace troupe::kernels {

constexpr std::size_t divide_up(std::size_t a, std::size_t b) noexcept {
  return (a + b - 1) / b;
}

}  // namespace troupe::kernels
