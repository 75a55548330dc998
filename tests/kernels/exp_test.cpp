// exp: the error against double precision over the whole range, the special values, and that every
// variant gives the reference's bits for every size up to two vectors, at every misalignment,
// writing nothing else.
#include "kernels/exp/exp.hpp"

#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include "canary_buffer.hpp"
#include "tests/skip.hpp"

using namespace troupe;

TEST_CASE("exp is within 1.1 units in the last place of the exact value", "[exp]") {
  double worst = 0.0;
  for (float x = kernels::exp_constants::input_min; x < 88.72f; x += 0.000917f) {
    const double exact = std::exp(static_cast<double>(x));
    const double unit = std::ldexp(1.0, std::ilogb(exact) - 23);
    worst = std::max(worst, std::abs(kernels::exp_ref(x) - exact) / unit);
  }
  INFO("worst error in units in the last place: " << worst);
  CHECK(worst < 1.1);
}

TEST_CASE("exp of special values", "[exp]") {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inputs[] = {0.0f,  -0.0f,  inf,    -inf,   nan,    88.8f,
                          1e30f, -87.4f, -1e30f, 1e-40f, -1e-40f};
  for (isa set : all_isas) {
    if (!is_supported(set)) continue;
    float outputs[11];
    kernels::exp_row(set, inputs, 11, outputs);
    CAPTURE(to_string(set));
    CHECK(outputs[0] == 1.0f);
    CHECK(outputs[1] == 1.0f);
    CHECK(outputs[2] == inf);
    CHECK((outputs[3] == 0.0f && !std::signbit(outputs[3])));
    CHECK(std::isnan(outputs[4]));
    CHECK(outputs[5] == inf);
    CHECK(outputs[6] == inf);
    CHECK(outputs[7] == 0.0f);
    CHECK(outputs[8] == 0.0f);
    CHECK(outputs[9] == 1.0f);
    CHECK(outputs[10] == 1.0f);
  }
}

TEST_CASE("exp variants give the reference's bits", "[exp]") {
  for (isa set : test::vector_sets()) {
    if (!is_supported(set)) {
      test::skip("this machine cannot run " + std::string(to_string(set)));
      continue;
    }
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-100.0f, 100.0f);
    for (std::size_t count = 0; count <= 40; ++count) {
      for (std::size_t misalignment = 0; misalignment < 4; ++misalignment) {
        test::canary_buffer x(count, misalignment);
        test::canary_buffer expected(count, misalignment);
        test::canary_buffer actual(count, misalignment);
        for (std::size_t i = 0; i < count; ++i) x[i] = uniform(random);
        kernels::exp_row(isa::reference, x.data(), count, expected.data());
        kernels::exp_row(set, x.data(), count, actual.data());
        CAPTURE(to_string(set), count, misalignment);
        REQUIRE(test::same_bits(expected.data(), actual.data(), count));
        REQUIRE(actual.canaries_intact());
      }
    }
    std::vector<float> grid, expected, actual;
    for (float x = -90.0f; x < 90.0f; x += 0.00371f) grid.push_back(x);
    expected.resize(grid.size());
    actual.resize(grid.size());
    kernels::exp_row(isa::reference, grid.data(), grid.size(), expected.data());
    kernels::exp_row(set, grid.data(), grid.size(), actual.data());
    CHECK(test::same_bits(expected.data(), actual.data(), grid.size()));
  }
}
