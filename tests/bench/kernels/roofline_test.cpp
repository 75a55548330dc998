// What binds a kernel, at limits that make the answers obvious.
#include "bench/kernels/roofline.hpp"

#include <catch2/catch.hpp>

#include "bench/kernels/kernel_report.hpp"

namespace {

using namespace troupe::bench;

/// 100 int8 and 10 float operations a second; 8, 4, 2 and 1 bytes a second from L1 outwards.
machine_limits round_limits() {
  machine_limits limits;
  const auto set = [&](limit_kind kind, double rate) {
    limits.rates[static_cast<std::size_t>(kind)] = rate;
  };
  set(limit_kind::int8_dot, 100.0);
  set(limit_kind::f32_fma, 10.0);
  set(limit_kind::l1_read, 8.0);
  set(limit_kind::l2_read, 4.0);
  set(limit_kind::l3_read, 2.0);
  set(limit_kind::memory_read, 0.5);
  set(limit_kind::memory_read_huge_pages, 1.0);
  return limits;
}

TEST_CASE("the slower of arithmetic and memory binds") {
  const auto limits = round_limits();
  const kernel_work matmul{.int8_operations = 1000.0, .bytes = 3.0};
  CHECK(roofline_of(matmul, limits).bound_seconds() == Approx(10.0));
  CHECK(binding_limit(matmul, limits) == "int8");
  const kernel_work reading{.int8_operations = 100.0, .bytes = 3.0};
  CHECK(roofline_of(reading, limits).bound_seconds() == Approx(3.0));
  CHECK(binding_limit(reading, limits) == "memory");
  const kernel_work both{.int8_operations = 100.0, .float_operations = 100.0, .bytes = 3.0};
  CHECK(roofline_of(both, limits).bound_seconds() == Approx(11.0));
  CHECK(binding_limit(both, limits) == "f32");
}

TEST_CASE("bytes are priced where they lie") {
  const auto limits = round_limits();
  for (const auto& [tier, seconds] : {std::pair{memory_tier::l1, 1.0},
                                      {memory_tier::l2, 2.0},
                                      {memory_tier::l3, 4.0},
                                      {memory_tier::memory, 8.0}}) {
    CHECK(roofline_of({.bytes = 8.0, .tier = tier}, limits).bytes_seconds == Approx(seconds));
  }
}

TEST_CASE("private caches hold each thread's share, the shared one all") {
  const troupe::cache_sizes sizes{.l1_bytes = 10, .l2_bytes = 100, .l3_bytes = 1000};
  CHECK(tier_of(sizes, 20, 2) == memory_tier::l1);
  CHECK(tier_of(sizes, 21, 1) == memory_tier::l2);
  CHECK(tier_of(sizes, 200, 2) == memory_tier::l2);
  CHECK(tier_of(sizes, 125, 1) == memory_tier::l2);
  CHECK(tier_of(sizes, 126, 1) == memory_tier::l3);
  CHECK(tier_of(sizes, 1000, 2) == memory_tier::l3);
  CHECK(tier_of(sizes, 1001, 2) == memory_tier::memory);
}

TEST_CASE("a kernel's fraction is what its limit takes over what it took") {
  const kernel_measurement measured{.name = "x",
                                    .work = {.int8_operations = 100.0},
                                    .timing = {.median_seconds = 2.0, .best_seconds = 1.5}};
  CHECK(fraction_of_limit(measured, round_limits()) == Approx(0.5));
}

TEST_CASE("memory's limit is what it gave beside the case") {
  kernel_measurement measured{
      .name = "x", .work = {.bytes = 1.0}, .timing = {.median_seconds = 4.0}};
  CHECK(fraction_of_limit(measured, limits_beside(measured, round_limits())) == Approx(0.25));
  measured.memory_rate = 0.5;
  CHECK(fraction_of_limit(measured, limits_beside(measured, round_limits())) == Approx(0.5));
  measured.work.tier = memory_tier::l3;
  CHECK(fraction_of_limit(measured, limits_beside(measured, round_limits())) == Approx(0.125));
}

TEST_CASE("limits only rise") {
  auto limits = round_limits();
  auto other = round_limits();
  other.rates[0] = 500.0;
  other.rates[2] = 1.0;
  limits.raise_to(other);
  CHECK(limits.rates[0] == 500.0);
  CHECK(limits.rates[2] == 10.0);
}

}  // namespace
