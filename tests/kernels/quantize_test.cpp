// Proves that quantizing rows, or rounding them to bf16, gives the bits of its specification in
// every variant, for every length, whole and in pieces, and what the specification is.
#include <algorithm>
#include <cstring>
#include <limits>

#include <catch2/catch.hpp>

#include "tests/kernels/matmul_rows.hpp"

using namespace troupe;
using namespace troupe::test;
using kernels::quantize_columns;
using kernels::quantized_rows;

namespace {

constexpr std::uint32_t seed = matmul_seed;

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
      const std::size_t groups = expected.group_count();
      if (multiplies_in_bf16(set)) {
        for (std::size_t at = 0; at < 37 * groups; ++at) {
          const std::size_t row = at / groups, g = at % groups;
          CHECK(std::memcmp(expected.bf16_tile(row / 16)[g].values[row % 16],
                            found.bf16_tile(row / 16)[g].values[row % 16], 64) == 0);
        }
        continue;
      }
      CHECK(found.has_offset_sums() == (set == isa::avx512));
      bool same = true;
      for (std::size_t row = 0; row < 37; ++row) {
        for (std::size_t g = 0; g < groups; ++g) {
          const auto& a = expected.part(row, g);
          const auto& b = found.part(row, g);
          const std::size_t r = row % 8;
          same = same &&
                 std::memcmp(expected.group_of(row, g).values[row % 16],
                             found.group_of(row, g).values[row % 16], 32) == 0 &&
                 std::memcmp(&a.scale[r], &b.scale[r], 4) == 0 &&
                 std::memcmp(&a.scaled_sum[r], &b.scaled_sum[r], 4) == 0 &&
                 a.minus_sum[r] == b.minus_sum[r] && a.minus_first_sum[r] == b.minus_first_sum[r];
          for (int f = 0; found.has_offset_sums() && f < 8; ++f) {
            const int sum = -a.minus_sum[r];
            same = same && found.group_of(row, g).offset_sums[row % 16][f] ==
                               -128 * sum + ((f * sum + 4) >> 3);
          }
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

TEST_CASE("quantize_columns: a row in pieces gives the bits of the whole row") {
  std::mt19937 random(seed + 5);
  const std::size_t columns = 1000;
  const auto x = random_activations(1, columns, random);
  auto variants = runnable_variants();
  variants.push_back(isa::reference);
  for (const isa set : variants) {
    const auto whole = quantize_all(set, x, 1, columns);
    quantized_rows pieces;
    pieces.resize(set, 1, columns);
    for (std::size_t first = 0; first < columns;) {
      const std::size_t count = std::min<std::size_t>(32 * (1 + random() % 20), columns - first);
      quantize_columns(set, x.data() + first, 0, first, count, pieces);
      first += count;
    }
    if (multiplies_in_bf16(set)) {
      for (std::size_t g = 0; g < whole.group_count(); ++g)
        CHECK(std::memcmp(whole.bf16_tile(0)[g].values[0], pieces.bf16_tile(0)[g].values[0], 64) ==
              0);
      continue;
    }
    CHECK(std::memcmp(whole.tile(0), pieces.tile(0),
                      whole.group_count() * sizeof(kernels::activation_group)) == 0);
  }
}
