// The row kernels rms_norm, silu_mul and rope: each reference against double precision
// within its header's tolerance, and every variant against the reference bit by bit, for sizes up
// to two vectors and some real ones, misaligned, between canaries.
#include <cmath>
#include <functional>

#include <catch2/catch.hpp>

#include "canary_buffer.hpp"
#include "kernels/rms_norm/rms_norm.hpp"
#include "kernels/rope/rope.hpp"
#include "kernels/silu_mul/silu_mul.hpp"
#include "tests/skip.hpp"

using namespace troupe;

namespace {

constexpr double unit = 0x1p-24;

std::vector<std::size_t> sizes() {
  std::vector<std::size_t> out;
  for (std::size_t count = 1; count <= 40; ++count) out.push_back(count);
  out.insert(out.end(), {64, 100, 576, 1536});
  return out;
}

/// Calls check(set, count, misalignment) for every supported variant.
void for_all(const std::function<void(isa, std::size_t, std::size_t)>& check) {
  for (isa set : test::vector_sets()) {
    if (!is_supported(set)) {
      test::skip("this machine cannot run " + std::string(to_string(set)));
      continue;
    }
    for (std::size_t count : sizes()) {
      for (std::size_t misalignment = 0; misalignment < 4; ++misalignment) {
        CAPTURE(to_string(set), count, misalignment);
        check(set, count, misalignment);
      }
    }
  }
}

}  // namespace

TEST_CASE("rms_norm reference is close to double precision", "[rms_norm]") {
  std::mt19937 random(2);
  for (std::size_t count : sizes()) {
    std::vector<float> x(count), weight(count), y(count);
    test::fill_normal(x.data(), count, random);
    test::fill_normal(weight.data(), count, random);
    kernels::rms_norm(
        isa::reference,
        {.x = x.data(), .count = count, .weight = weight.data(), .epsilon = 1e-5f, .y = y.data()});
    double sum = 0.0;
    for (float value : x) sum += static_cast<double>(value) * value;
    const double scale = 1.0 / std::sqrt(sum / count + 1e-5f);
    const double tolerance = (count / 16.0 + 8.0) * unit;
    for (std::size_t i = 0; i < count; ++i) {
      const double exact = x[i] * scale * weight[i];
      CAPTURE(count, i);
      REQUIRE(std::abs(y[i] - exact) <= tolerance * std::abs(exact));
    }
  }
}

TEST_CASE("rms_norm variants give the reference's bits", "[rms_norm]") {
  std::mt19937 random(3);
  for_all([&](isa set, std::size_t count, std::size_t misalignment) {
    // Some rows together and one that is left; what is between rows stays as it was.
    const std::size_t rows = 5, x_stride = count + 1, y_stride = count + 2;
    test::canary_buffer x(rows * x_stride, misalignment), weight(count, misalignment + 2);
    test::fill_normal(x.data(), x.size(), random);
    test::fill_normal(weight.data(), count, random);
    test::canary_buffer expected(rows * y_stride, misalignment), actual(expected);
    kernels::rms_norm_rows norm{.x = x.data(),
                                .x_stride = x_stride,
                                .row_count = rows,
                                .count = count,
                                .weight = weight.data(),
                                .epsilon = 1e-5f,
                                .y = expected.data(),
                                .y_stride = y_stride};
    kernels::rms_norm(isa::reference, norm);
    norm.y = actual.data();
    kernels::rms_norm(set, norm);
    REQUIRE(test::same_bits(expected.data(), actual.data(), expected.size()));
    REQUIRE(actual.canaries_intact());
    test::canary_buffer in_place = x;
    norm.x = norm.y = in_place.data();
    norm.y_stride = x_stride;
    kernels::rms_norm(set, norm);
    for (std::size_t row = 0; row < rows; ++row) {
      REQUIRE(test::same_bits(expected.data() + row * y_stride, in_place.data() + row * x_stride,
                              count));
    }
  });
}

TEST_CASE("silu_mul reference is close to double precision", "[silu_mul]") {
  for (float gate = -80.0f; gate < 80.0f; gate += 0.0137f) {
    const float up = 1.7f;
    float y = 0.0f;
    kernels::silu_mul(isa::reference, &gate, &up, 1, &y);
    const double exact = gate / (1.0 + std::exp(-static_cast<double>(gate))) * up;
    CAPTURE(gate);
    REQUIRE(std::abs(y - exact) <= 5 * unit * std::abs(exact));
  }
}

TEST_CASE("silu_mul variants give the reference's bits", "[silu_mul]") {
  std::mt19937 random(4);
  for_all([&](isa set, std::size_t count, std::size_t misalignment) {
    test::canary_buffer gate(count, misalignment), up(count, misalignment + 1);
    test::fill_normal(gate.data(), count, random, 30.0f);
    test::fill_normal(up.data(), count, random);
    gate[0] = -200.0f;
    test::canary_buffer expected(count, misalignment), actual(count, misalignment);
    kernels::silu_mul(isa::reference, gate.data(), up.data(), count, expected.data());
    kernels::silu_mul(set, gate.data(), up.data(), count, actual.data());
    REQUIRE(test::same_bits(expected.data(), actual.data(), count));
    REQUIRE(actual.canaries_intact());
  });
}

TEST_CASE("rope reference turns pairs and keeps the rest", "[rope]") {
  std::mt19937 random(5);
  const std::vector<double> frequencies{1.0, 0.1, 0.01};
  float cosines[3], sines[3];
  kernels::rope_table_row(frequencies, 1234, 1.25, cosines, sines);
  for (bool interleaved : {true, false}) {
    std::vector<float> heads(20);
    test::fill_normal(heads.data(), heads.size(), random);
    const std::vector<float> before = heads;
    kernels::rope(isa::reference, {.heads = heads.data(),
                                   .head_count = 2,
                                   .head_stride = 10,
                                   .pair_count = 3,
                                   .cosines = cosines,
                                   .sines = sines,
                                   .interleaved = interleaved});
    for (std::size_t head = 0; head < 20; head += 10) {
      for (std::size_t i = 0; i < 3; ++i) {
        const std::size_t first = head + (interleaved ? 2 * i : i);
        const std::size_t second = head + (interleaved ? 2 * i + 1 : i + 3);
        const double angle = 1234 * frequencies[i];
        const double a = before[first], b = before[second];
        // The table's rounding (half a unit of at most 1.25) comes on top of the header's bound.
        const double tolerance = 4 * unit * 1.25 * (std::abs(a) + std::abs(b));
        CHECK(std::abs(heads[first] - 1.25 * (a * std::cos(angle) - b * std::sin(angle))) <=
              tolerance);
        CHECK(std::abs(heads[second] - 1.25 * (b * std::cos(angle) + a * std::sin(angle))) <=
              tolerance);
      }
      for (std::size_t i = head + 6; i < head + 10; ++i) CHECK(heads[i] == before[i]);
    }
  }
}

TEST_CASE("rope variants give the reference's bits", "[rope]") {
  std::mt19937 random(6);
  for_all([&](isa set, std::size_t count, std::size_t misalignment) {
    const std::size_t pairs = count > 128 ? 128 : count;
    const std::size_t stride = 2 * pairs + count % 3;
    test::canary_buffer cosines(pairs, misalignment), sines(pairs, misalignment + 1);
    test::fill_normal(cosines.data(), pairs, random);
    test::fill_normal(sines.data(), pairs, random);
    for (bool interleaved : {true, false}) {
      test::canary_buffer expected(3 * stride, misalignment);
      test::fill_normal(expected.data(), 3 * stride, random);
      test::canary_buffer actual = expected;
      kernels::rope_row row{.heads = expected.data(),
                            .head_count = 3,
                            .head_stride = stride,
                            .pair_count = pairs,
                            .cosines = cosines.data(),
                            .sines = sines.data(),
                            .interleaved = interleaved};
      kernels::rope(isa::reference, row);
      row.heads = actual.data();
      kernels::rope(set, row);
      CAPTURE(interleaved);
      REQUIRE(test::same_bits(expected.data(), actual.data(), 3 * stride));
      REQUIRE(actual.canaries_intact());
    }
  });
}
