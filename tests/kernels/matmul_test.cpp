// Proves that every variant of quantize_row and matmul that this machine runs gives the reference's
// bits, for every type, shape, batch size and number of threads, writes nothing outside its output,
// and treats a row alone as in any batch; and that the reference itself is right, against a
// double-precision product of dequantized weights and activations within a derived bound.
#include "kernels/matmul/matmul.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/base/half.hpp"
#include "kernels/dequantize/dequantize.hpp"
#include "kernels/dequantize/quantized_group.hpp"
#include "kernels/matmul/packed_state.hpp"
#include "tests/kernels/matmul_problem.hpp"
#include "tests/kernels/random_weights.hpp"

namespace {

using troupe::dtype;
using troupe::isa;
using troupe::layout_of;
using troupe::specification_of;
using troupe::kernels::dequantize_row;
using troupe::kernels::matmul_epilogue;
using troupe::kernels::matmul_job;
using troupe::kernels::matmul_set;
using troupe::kernels::matmul_sets_max;
using troupe::kernels::minima;
using troupe::kernels::output_range;
using troupe::kernels::packed_matrix;
using troupe::kernels::quantized_rows;
using troupe::test::all_kinds;
using troupe::test::columns_of;
using troupe::test::matmul_canary;
using troupe::test::multiply;
using troupe::test::name_of;
using troupe::test::pack;
using troupe::test::quantize_all;
using troupe::test::quantized_kinds;
using troupe::test::random_activations;
using troupe::test::random_weights;
using troupe::test::runnable_variants;
using troupe::test::same_bits;
using troupe::test::several;
using troupe::test::single;
using troupe::test::weight_kind;

constexpr std::uint32_t seed = troupe::test::matmul_seed;

}  // namespace

TEST_CASE("matmul: every variant gives the reference's bits for every N and M") {
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto variants = runnable_variants();
  // A kernel each up to 16 rows, then tiles of them, whole and not.
  std::vector<std::size_t> row_counts(17);
  std::iota(row_counts.begin(), row_counts.end(), std::size_t{1});
  row_counts.insert(row_counts.end(), {24, 31, 32, 33, 37, 64, 75, 76, 130});
  const std::size_t m_max = row_counts.back();
  std::vector<std::size_t> outputs;
  for (std::size_t n = 1; n <= 40; ++n) outputs.push_back(n);
  outputs.insert(outputs.end(), {79, 192, 257});
  std::size_t turn = 0;
  for (const weight_kind& kind : all_kinds()) {
    const dtype type = kind.type;
    for (const std::size_t n : outputs) {
      const std::size_t groups_cycle[] = {1, 2, 3, 6};
      const std::size_t k = columns_of(type, groups_cycle[turn++ % 4]);
      const auto weights = random_weights(kind, n, k, random);
      const auto x = random_activations(m_max, k, random);
      const auto bias = random_activations(1, n, random);
      const float* chosen_bias = turn % 2 == 0 ? bias.data() : nullptr;
      std::map<isa, std::vector<float>> specified;
      for (const isa set : {isa::reference, isa::bf16_reference}) {
        const auto plain = pack(set, type, weights, n, k, single());
        if (plain.wants_quantized())
          REQUIRE(plain.packed().parts().has_zero_point ==
                  (kind.has_zero_points && set == isa::reference));
        specified[set] = multiply({plain, x, m_max, chosen_bias}, single());
      }
      for (const isa set : variants) {
        const auto& expected = specified.at(specification_of(set));
        const auto packed = pack(set, type, weights, n, k, several());
        for (const std::size_t m : row_counts) {
          INFO(troupe::to_string(set)
               << " " << name_of(kind) << " M " << m << " N " << n << " K " << k);
          const std::vector<float> some(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(m * k));
          const auto found = multiply({packed, some, m, chosen_bias}, single());
          const std::vector<float> wanted(expected.begin(),
                                          expected.begin() + static_cast<std::ptrdiff_t>(m * n));
          CHECK(same_bits(found, wanted));
        }
      }
    }
  }
}

TEST_CASE("matmul: many groups and many rows, in chunks of every size") {
  INFO("seed " << seed);
  std::mt19937 random(seed + 6);
  const std::size_t n = 37;
  for (const weight_kind& kind : quantized_kinds) {
    const dtype type = kind.type;
    const bool has_blocks = layout_of(type)->block_elements > 32;
    for (const std::size_t blocks : {10u, 18u, 20u, 37u, 265u}) {
      const std::size_t k = columns_of(type, has_blocks ? blocks / 5 : blocks);
      const std::size_t m_max = blocks == 10 ? 530 : 130;
      const auto weights = random_weights(kind, n, k, random);
      const auto x = random_activations(m_max, k, random);
      for (const isa set : runnable_variants()) {
        const auto plain = pack(specification_of(set), type, weights, n, k, several());
        const auto packed = pack(set, type, weights, n, k, several());
        const auto expected = multiply({plain, x, m_max}, several());
        for (const std::size_t m : {std::size_t{33}, std::size_t{48}, std::size_t{64},
                                    std::size_t{80}, m_max / 2 - 9, m_max}) {
          INFO(troupe::to_string(set) << " " << name_of(kind) << " M " << m << " K " << k);
          const std::vector<float> some(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(m * k));
          const std::vector<float> wanted(expected.begin(),
                                          expected.begin() + static_cast<std::ptrdiff_t>(m * n));
          CHECK(same_bits(multiply({packed, some, m}, single()), wanted));
          CHECK(same_bits(multiply({packed, some, m}, several()), wanted));
        }
      }
    }
  }
}

TEST_CASE("matmul: extreme weights and activations stay exact") {
  // All weights at the ends of their range against all activations at +-127: the largest sums.
  for (const weight_kind& kind : quantized_kinds) {
    const dtype type = kind.type;
    const auto layout = *layout_of(type);
    const std::size_t n = 16, k = 512, m = 69;
    for (const int fill : {0x00, 0xFF, 0x80, 0x7F}) {
      std::mt19937 random(seed);
      auto weights = random_weights(kind, n, k, random);
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const std::size_t at = i % layout.block_bytes;
        const bool scale = type == dtype::q6_k ? at >= 208 : at < 4;
        if (!scale) weights[i] = static_cast<std::byte>(fill);
      }
      std::vector<float> x(m * k);
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = (i / k) % 2 == 0 || i % 3 == 0 ? 2.0f : -2.0f;
      for (const isa set : runnable_variants()) {
        const auto plain = pack(specification_of(set), type, weights, n, k, single());
        const auto expected = multiply({plain, x, m}, single());
        INFO(troupe::to_string(set) << " " << name_of(kind) << " fill " << fill);
        const auto packed = pack(set, type, weights, n, k, single());
        CHECK(same_bits(multiply({packed, x, m}, single()), expected));
      }
    }
  }
}

TEST_CASE("matmul: a row alone gives the bits it gives in a batch, on any number of threads") {
  INFO("seed " << seed);
  std::mt19937 random(seed + 1);
  const std::size_t n = 211, m = 37;
  auto variants = runnable_variants();
  variants.push_back(isa::reference);
  variants.push_back(isa::bf16_reference);
  for (const weight_kind& kind : all_kinds()) {
    const dtype type = kind.type;
    const std::size_t k = columns_of(type, 9);
    const auto weights = random_weights(kind, n, k, random);
    const auto x = random_activations(m, k, random);
    for (const isa set : variants) {
      INFO(troupe::to_string(set) << " " << name_of(kind));
      const auto packed = pack(set, type, weights, n, k, several());
      const auto batch = multiply({packed, x, m}, several());
      CHECK(same_bits(multiply({packed, x, m}, single()), batch));
      for (std::size_t row = 0; row < m; ++row) {
        const auto begin = x.begin() + static_cast<std::ptrdiff_t>(row * k);
        const std::vector<float> one(begin, begin + static_cast<std::ptrdiff_t>(k));
        const auto alone = multiply({packed, one, 1}, several());
        CHECK(std::memcmp(alone.data(), batch.data() + row * n, n * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("matmul: several jobs in one region equal the jobs one by one") {
  INFO("seed " << seed);
  std::mt19937 random(seed + 2);
  const std::size_t k = 256;
  // With so many rows, sets of one kind share the same ones.
  const std::size_t m = GENERATE(19u, 600u);
  const bool are_of_one_kind = GENERATE(false, true);
  const auto x = random_activations(m, k, random);
  const isa set = GENERATE(troupe::fastest_isa(isa::reference), isa::amx);
  if (!troupe::is_supported(set)) return troupe::test::skip("this machine has no AMX");
  INFO("M " << m << ", one kind " << are_of_one_kind << ", " << troupe::to_string(set));
  const auto quantized = quantize_all(set, x, m, k);
  std::vector<packed_matrix> weights;
  std::vector<std::vector<float>> outputs;
  for (std::size_t i = 0; i < matmul_sets_max; ++i) {
    const weight_kind kind =
        are_of_one_kind ? weight_kind{dtype::q4_1, true} : all_kinds()[i % all_kinds().size()];
    const std::size_t n = 20 + 37 * i;
    weights.push_back(pack(set, kind.type, random_weights(kind, n, k, random), n, k, several()));
    outputs.emplace_back(m * n);
  }
  std::vector<matmul_job> jobs(weights.size());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].weight = &weights[i];
    jobs[i].quantized = &quantized;
    jobs[i].floats = x.data();
    jobs[i].floats_stride = k;
    jobs[i].output = outputs[i].data();
    jobs[i].output_stride = weights[i].row_count();
  }
  std::vector<matmul_set> sets;
  for (const matmul_job& job : jobs) sets.push_back({.jobs = {&job, 1}, .epilogue = {}});
  troupe::kernels::matmul(sets, m, several());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    CHECK(same_bits(outputs[i], multiply({weights[i], x, m}, single())));
  }
}

TEST_CASE("matmul: an epilogue sees every output of a set once, whole and final") {
  INFO("seed " << seed);
  std::mt19937 random(seed + 4);
  const std::size_t k = 256;
  const isa set = GENERATE(troupe::fastest_isa(isa::reference), isa::amx);
  if (!troupe::is_supported(set)) return troupe::test::skip("this machine has no AMX");
  for (const std::size_t m : {1u, 9u, 16u, 37u, 130u}) {
    for (const std::size_t multiple : {1u, 16u, 24u, 32u, 64u, 96u, 1000u}) {
      const std::size_t n = 208;
      INFO("M " << m << ", ranges of " << multiple);
      const auto x = random_activations(m, k, random);
      const auto quantized = quantize_all(set, x, m, k);
      const weight_kind kinds[] = {{dtype::q4_1, true}, {dtype::q8_0}};
      std::vector<packed_matrix> weights;
      std::vector<std::vector<float>> outputs(1, std::vector<float>(m * n, matmul_canary));
      matmul_job jobs[2];
      for (std::size_t i = 0; i < 2; ++i) {
        weights.push_back(
            pack(set, kinds[i].type, random_weights(kinds[i], n, k, random), n, k, single()));
      }
      for (std::size_t i = 0; i < 2; ++i) {
        jobs[i].weight = &weights[i];
        jobs[i].quantized = &quantized;
        jobs[i].output = i == 0 ? outputs[0].data() : nullptr;  // the second's only add sees
        jobs[i].output_stride = n;
      }
      std::vector<float> sums(m * n, matmul_canary);
      std::atomic<std::size_t> misplaced{0}, repeated{0};
      const auto add = [&](const output_range& range) {
        misplaced += range.output_first % multiple != 0 || range.row_first % 16 != 0 ||
                     ((range.row_first + range.row_count) % 16 != 0 &&
                      range.row_first + range.row_count != m) ||
                     range.made.size() != 2 ||
                     range.made[0].first != &outputs[0][range.row_first * n + range.output_first];
        for (std::size_t row = 0; row < range.row_count; ++row) {
          for (std::size_t i = 0; i < range.output_count; ++i) {
            const std::size_t at = (range.row_first + row) * n + range.output_first + i;
            repeated += sums[at] != matmul_canary;
            sums[at] = range.made[0].row(row)[i] + range.made[1].row(row)[i];
          }
        }
      };
      const matmul_set both{
          .jobs = jobs, .epilogue = matmul_epilogue(add), .output_multiple = multiple};
      troupe::kernels::matmul({&both, 1}, m, several());
      CHECK(misplaced == 0);
      CHECK(repeated == 0);
      const auto first = multiply({weights[0], x, m}, single());
      const auto second = multiply({weights[1], x, m}, single());
      std::vector<float> expected(m * n);
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = first[i] + second[i];
      CHECK(same_bits(sums, expected));
      CHECK(same_bits(outputs[0], first));
    }
  }
}

// Weights whose minima are a whole number of 64ths of a step: the nearest to those of the row.
void move_to_zero_points(dtype type, const std::byte* row, std::vector<float>& w) {
  troupe::kernels::quantized_group group;
  for (std::size_t i = 0; i < w.size(); ++i) {
    if (i % 32 == 0) troupe::kernels::read_group(type, row, i / 32, group);
    const float part = group.scale(0) / 64.0f;
    const float moved = part * (64.0f * group.q[i % 32] + std::round(group.minimum() / part));
    CHECK(std::abs(moved - w[i]) <= std::abs(part) * 0.51f);
    w[i] = moved;
  }
}

// What rounding the product of a zero point's fraction and a sum adds at most.
double rounding_of_fractions(dtype type, const std::byte* row, const quantized_rows& x,
                             std::size_t x_row) {
  troupe::kernels::quantized_group group;
  double sum = 0.0;
  for (std::size_t g = 0; g < x.group_count(); ++g) {
    troupe::kernels::read_group(type, row, g, group);
    sum += std::abs(group.scale(0)) / 16.0 * x.scale(x_row, g);
  }
  return sum;
}

TEST_CASE("matmul: the reference is the product of dequantized weights and activations") {
  INFO("seed " << seed);
  std::mt19937 random(seed + 3);
  const std::size_t n = 33, m = 3;
  for (const weight_kind& kind : all_kinds()) {
    const dtype type = kind.type;
    const auto layout = *layout_of(type);
    const std::size_t k = columns_of(type, 5);
    const auto weights = random_weights(kind, n, k, random);
    const auto x = random_activations(m, k, random);
    const auto packed = pack(isa::reference, type, weights, n, k, single());
    const auto y = multiply({packed, x, m}, single());
    const auto packed_bf16 = pack(isa::bf16_reference, type, weights, n, k, single());
    const auto y_bf16 = multiply({packed_bf16, x, m}, single());
    const auto quantized = quantize_all(isa::reference, x, m, k);
    const std::size_t row_bytes = k / layout.block_elements * layout.block_bytes;
    std::vector<float> w(k), multiplied;
    for (std::size_t output = 0; output < n; ++output) {
      REQUIRE(dequantize_row(type, std::span(weights).subspan(output * row_bytes, row_bytes), w));
      multiplied = w;
      if (kind.has_zero_points)
        move_to_zero_points(type, weights.data() + output * row_bytes, multiplied);
      for (std::size_t row = 0; row < m; ++row) {
        double exact = 0.0, magnitude = 0.0;
        for (std::size_t i = 0; i < k; ++i) {
          const double value =
              packed.wants_quantized()
                  ? static_cast<double>(quantized.value(row, i)) * quantized.scale(row, i / 32)
                  : x[row * k + i];
          exact += multiplied[i] * value;
          // Rounding errors are relative to d * q and m apart, which may cancel in w = d * q + m.
          // With |m| < 1 (63 * 0.011), |w| + 2 is at least |d * q| + |m|.
          magnitude += (std::abs(w[i]) + (packed.wants_quantized() ? 2.0 : 0.0)) * std::abs(value);
        }
        // Each of k or k/16 fma steps errs by at most half an ulp of a partial sum, each product d
        // * a by half an ulp, w itself (dequantized) by one: (steps + 4) * 2^-24 * magnitude.
        const double steps =
            packed.wants_quantized() ? static_cast<double>(k) / 16 : static_cast<double>(k);
        double bound = (steps + 4) * 0x1p-24 * magnitude + 1e-30;
        if (kind.has_zero_points)
          bound += rounding_of_fractions(type, weights.data() + output * row_bytes, quantized, row);
        INFO(name_of(kind) << " row " << row << " output " << output);
        CHECK(std::abs(y[row * n + output] - exact) <= bound);
        if (!packed.wants_quantized()) continue;
        // In bf16 w is cut by up to 2^-7 of itself, before that rounded in f16 by 2^-11 of d * q
        // and of m, each of which is a product rounded by as much; x is off by 2^-9 of itself.
        double float_exact = 0.0, float_bound = 1e-30;
        for (std::size_t i = 0; i < k; ++i) {
          const double value = x[row * k + i];
          float_exact += w[i] * value;
          float_bound += std::abs(value) * (std::abs(w[i]) * (0x1p-7 + 0x1p-8) + 2.0 * 0x1p-10);
        }
        CHECK(std::abs(y_bf16[row * n + output] - float_exact) <= float_bound);
      }
    }
  }
}

TEST_CASE("pack takes minima for zero points where all of a matrix fit") {
  const auto has_zero_points = [](float d, float minimum, isa set = isa::reference,
                                  minima named = minima::zero_points) {
    std::vector<std::byte> weights(17 * 20);
    std::mt19937 random(seed);
    for (auto& byte : weights) byte = static_cast<std::byte>(random() & 0xFF);
    for (std::size_t row = 0; row < 17; ++row) {
      // The others' zero lies in the middle.
      const std::uint16_t halves[] = {troupe::float_to_half(row == 16 ? d : 0.5f),
                                      troupe::float_to_half(row == 16 ? minimum : -3.75f)};
      std::memcpy(weights.data() + 20 * row, halves, sizeof halves);
    }
    const auto packed = pack(set, dtype::q4_1, weights, 17, 32, several(), named);
    return packed.packed().parts().has_zero_point;
  };
  CHECK(has_zero_points(0.5f, -3.75f));
  CHECK(has_zero_points(-0.5f, 3.75f));
  CHECK(has_zero_points(0.5f, 0.0f));
  CHECK(has_zero_points(0.0f, 0.0f));
  // Eight times 15 and z are at most 255, z at least 0: 63 and -1024 parts of 64 are the ends.
  CHECK(has_zero_points(1.0f, 0.9840f));
  CHECK(has_zero_points(1.0f, 0.9912f));
  CHECK_FALSE(has_zero_points(1.0f, 0.9932f));
  CHECK_FALSE(has_zero_points(1.0f, 1.0f));
  CHECK(has_zero_points(1.0f, -16.0f));
  CHECK_FALSE(has_zero_points(1.0f, -16.0156f));
  CHECK_FALSE(has_zero_points(0.0f, 1.0f));
  CHECK_FALSE(has_zero_points(0.001f, -100.0f));
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float odd : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    CHECK_FALSE(has_zero_points(odd, 1.0f));
    CHECK_FALSE(has_zero_points(1.0f, odd));
    CHECK_FALSE(has_zero_points(odd, odd));
  }
  CHECK_FALSE(has_zero_points(0.5f, -3.75f, isa::bf16_reference));
  CHECK_FALSE(has_zero_points(0.5f, -3.75f, isa::reference, minima::as_in_file));
}

TEST_CASE("pack refuses what does not fit") {
  std::vector<std::byte> bytes(20 * 4);
  const auto code = [&](dtype type, std::size_t n, std::size_t k) {
    return packed_matrix::pack(isa::reference, type, bytes, n, k, single()).failure().code;
  };
  CHECK(packed_matrix::pack(isa::reference, dtype::q4_1, bytes, 2, 64, single()));
  CHECK(code(dtype::q4_1, 2, 63) == troupe::errc::invalid_argument);
  CHECK(code(dtype::q4_1, 3, 64) == troupe::errc::invalid_argument);
  CHECK(code(dtype::q4_1, 0, 64) == troupe::errc::invalid_argument);
  CHECK(code(dtype::q4_1, SIZE_MAX / 2 + 3, 64) == troupe::errc::invalid_argument);
  CHECK(code(static_cast<dtype>(99), 2, 64) == troupe::errc::unsupported);
}
