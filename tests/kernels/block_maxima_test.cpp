// Every variant finds the largest value of each block, whatever the length, the alignment and the
// NaNs.
#include "kernels/block_maxima/block_maxima.hpp"

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

namespace troupe {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

std::vector<float> naive_maxima(std::span<const float> values) {
  std::vector<float> maxima;
  for (std::size_t first = 0; first < values.size(); first += kernels::maxima_block) {
    float largest = -infinity;
    for (const float value :
         values.subspan(first, std::min(kernels::maxima_block, values.size() - first))) {
      if (value > largest) largest = value;
    }
    maxima.push_back(largest);
  }
  return maxima;
}

TEST_CASE("block maxima of every variant are those of a plain loop") {
  const unsigned seed = 20261123;
  CAPTURE(seed);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 5.0f);
  const float odd_values[] = {nan_value, -infinity, infinity, -0.0f, 0.0f};
  for (std::size_t count = 0; count <= 4 * kernels::maxima_block; ++count) {
    const std::size_t offset = random() % 16;  // of the row in its buffer
    std::vector<float> buffer(offset + count);
    for (float& value : buffer)
      value = random() % 8 == 0 ? odd_values[random() % 5] : normal(random);
    if (count > 100 && count % 3 == 0)
      std::fill_n(buffer.begin() + static_cast<std::ptrdiff_t>(offset), 64, nan_value);
    const std::span<const float> row = std::span(buffer).subspan(offset);
    const auto expected = naive_maxima(row);
    for (const isa set : all_isas) {
      if (!is_supported(set)) continue;
      std::vector<float> made(expected.size(), 7.0f);
      kernels::fill_block_maxima(set, row, made);
      CAPTURE(count, static_cast<int>(set));
      REQUIRE(made == expected);
    }
  }
}

}  // namespace
}  // namespace troupe
