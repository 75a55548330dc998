// Proves that quantizing rows, or rounding them to bf16, gives the bits of its specification in
// every variant, for every length, whole and in pieces, and what the specification is.
#include <algorithm>
#include <cstring>
#include <limits>

#include <catch2/catch.hpp>

#include "tests/kernels/matmul_rows.hpp"

using namespace troupe;
using namespace troupe::test;
using kernels::quantize_block;
using kernels::quantized_rows;

namespace {

constexpr std::uint32_t seed = matmul_seed;

/// Whether a group of a row has the same bits in both, which are of one instruction set or of it
/// and its specification.
bool is_same(const quantized_rows& a, const quantized_rows& b, std::size_t row, std::size_t group) {
  const std::size_t in_tile = row % kernels::tile_rows, r = row % kernels::part_rows;
  if (a.is_bf16()) {
    return std::memcmp(a.bf16_tile(row / kernels::tile_rows)[group].values[in_tile],
                       b.bf16_tile(row / kernels::tile_rows)[group].values[in_tile], 64) == 0;
  }
  const auto &x = a.part(row, group), &y = b.part(row, group);
  return std::memcmp(a.group_of(row, group).values[in_tile], b.group_of(row, group).values[in_tile],
                     32) == 0 &&
         std::memcmp(&x.scale[r], &y.scale[r], 4) == 0 &&
         std::memcmp(&x.scaled_sum[r], &y.scaled_sum[r], 4) == 0 &&
         x.minus_sum[r] == y.minus_sum[r] && x.minus_first_sum[r] == y.minus_first_sum[r];
}

bool has_right_offset_sums(const quantized_rows& rows, std::size_t row, std::size_t group) {
  const int sum = -rows.part(row, group).minus_sum[row % kernels::part_rows];
  for (int f = 0; f < 8; ++f) {
    if (rows.group_of(row, group).offset_sums[row % kernels::tile_rows][f] !=
        -128 * sum + ((f * sum + 4) >> 3))
      return false;
  }
  return true;
}

}  // namespace

TEST_CASE("quantize_row: every variant gives the reference's bits") {
  INFO("seed " << seed);
  std::mt19937 random(seed);
  std::vector<float> x = random_activations(40, 200, random);
  x[5] = 1e-38f;  // alone in a group: 127 / max overflows
  for (std::size_t i = 0; i < 32; ++i) x[i] = i == 5 ? 1e-38f : 0.0f;
  for (std::size_t i = 32; i < 64; ++i) x[i] = static_cast<float>(i) - 47.5f;  // ties
  x[64] = 3.0e38f;
  x[97] = std::numeric_limits<float>::infinity();
  x[130] = std::numeric_limits<float>::quiet_NaN();
  for (const isa set : runnable_variants()) {
    for (const std::size_t columns : {1u, 15u, 16u, 17u, 31u, 32u, 33u, 96u, 163u, 200u}) {
      INFO(troupe::to_string(set) << ", columns " << columns);
      const auto expected = quantize_all(specification_of(set), x, 37, columns);
      const auto found = quantize_all(set, x, 37, columns);
      CHECK(found.has_offset_sums() == (set == isa::avx512));
      bool same = true;
      for (std::size_t row = 0; row < 37; ++row) {
        for (std::size_t g = 0; g < expected.group_count(); ++g) {
          same = same && is_same(expected, found, row, g) &&
                 (!found.has_offset_sums() || has_right_offset_sums(found, row, g));
        }
      }
      CHECK(same);
    }
  }
}

TEST_CASE("quantize_row: the reference is nearest-even with scale max/127") {
  const std::vector<float> x{127.0f, 0.5f, 1.5f, -2.5f, -127.0f, 63.49f, 0.0f, -0.5f};
  const auto out = quantize_all(isa::reference, x, 1, x.size());
  CHECK(out.scale(0, 0) == 1.0f);
  const std::vector<int> expected{127, 0, 2, -2, -127, 63, 0, 0};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(out.value(0, i) == expected[i]);
  for (std::size_t i = expected.size(); i < 32; ++i) CHECK(out.value(0, i) == 0);
  CHECK(out.part(0, 0).minus_sum[0] == -63);
  CHECK(out.part(0, 0).minus_first_sum[0] == -63);
}

TEST_CASE("quantize_block: a block has the bits of its rows one by one, and all else stays") {
  const std::uint32_t block_seed = seed + 5;
  INFO("seed " << block_seed);
  std::mt19937 random(block_seed);
  const std::size_t rows = 45, columns = 1000;
  std::vector<float> old_x = random_activations(rows, columns, random);
  std::vector<float> new_x = random_activations(rows, columns, random);
  for (int i = 0; i < 40; ++i) {
    constexpr float specials[] = {std::numeric_limits<float>::infinity(), 3.0e38f,
                                  std::numeric_limits<float>::quiet_NaN(), 1e-38f};
    new_x[random() % new_x.size()] = specials[i % 4];
  }
  auto variants = runnable_variants();
  variants.push_back(isa::reference);
  for (const isa set : variants) {
    const auto old_rows = quantize_all(set, old_x, rows, columns);
    const auto new_rows = quantize_all(set, new_x, rows, columns);
    const std::size_t groups = old_rows.group_count();
    for (int round = 0; round < 60; ++round) {
      const std::size_t row_first = random() % rows, column_first = 32 * (random() % groups);
      const std::size_t row_count = 1 + random() % (rows - row_first);
      const std::size_t column_count =
          std::min<std::size_t>(32 * (1 + random() % groups), columns - column_first);
      INFO(troupe::to_string(set) << ", rows " << row_first << " + " << row_count << ", columns "
                                  << column_first << " + " << column_count);
      auto found = quantize_all(set, old_x, rows, columns);
      quantize_block(set,
                     {.first = new_x.data() + row_first * columns + column_first,
                      .stride = columns,
                      .row_count = row_count,
                      .column_count = column_count},
                     row_first, column_first, found);
      bool same = true;
      for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t g = 0; g < groups; ++g) {
          const bool is_new = row >= row_first && row < row_first + row_count &&
                              32 * g >= column_first && 32 * g < column_first + column_count;
          same = same && is_same(is_new ? new_rows : old_rows, found, row, g) &&
                 (!found.has_offset_sums() || has_right_offset_sums(found, row, g));
        }
      }
      CHECK(same);
    }
  }
}
