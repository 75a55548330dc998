// Drawn lengths: in their bounds, rising with the quantile, like what was observed, and conditional
// on what was produced.
#include "runtime/schedule/compose/output_lengths.hpp"

#include <catch2/catch.hpp>

using namespace troupe;

TEST_CASE("nothing known: any share of max_tokens", "[compose]") {
  const output_lengths lengths;
  CHECK(lengths.draw(0.5, 0, 1000) == 500);
  CHECK(lengths.draw(1e-12, 0, 1000) == 1);
  CHECK(lengths.draw(1.0 - 1e-12, 0, 1000) == 1000);
  CHECK(lengths.draw(0.5, 600, 1000) == 800);
  CHECK(lengths.draw(0.5, 1000, 1000) == 1000);
  CHECK(lengths.draw(0.5, 0, 0) == 1);
  CHECK(lengths.mean(0, 1000) == 500);
  CHECK(lengths.mean(600, 1000) == 800);
  CHECK(lengths.mean(1000, 1000) == 1000);
}

TEST_CASE("draws follow what was observed", "[compose]") {
  output_lengths lengths;
  for (int i = 0; i < 500; ++i) lengths.observe(i % 2 == 0 ? 100 : 1000, 1000);
  CHECK(lengths.draw(0.25, 0, 1000) < 130);
  CHECK(lengths.draw(0.75, 0, 1000) > 930);
  CHECK(lengths.draw(0.05, 200, 1000) > 900);  // it did not end early
  CHECK(lengths.mean(0, 1000) == Approx(550).margin(30));
  CHECK(lengths.mean(200, 1000) > 900);
  std::uint32_t before = 0;
  for (double quantile = 0.01; quantile < 1.0; quantile += 0.01) {
    const std::uint32_t drawn = lengths.draw(quantile, 0, 1000);
    CHECK(drawn >= before);
    before = drawn;
  }
}
