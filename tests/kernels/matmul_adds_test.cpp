// matmul_job::adds, for every variant and type: also where the output's last panel and the last
// tile of rows are parts.
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/kernels/matmul_problem.hpp"
#include "tests/kernels/random_weights.hpp"

namespace troupe::test {

TEST_CASE("matmul: what is added to an output is what would have been stored") {
  INFO("seed " << matmul_seed);
  std::mt19937 random(matmul_seed + 9);
  auto variants = runnable_variants();
  variants.push_back(isa::reference);
  variants.push_back(isa::bf16_reference);
  for (const weight_kind& kind : all_kinds()) {
    for (const std::size_t n : {5u, 32u, 91u}) {
      const std::size_t k = columns_of(kind.type, 3), m_max = 75;
      const auto weights = random_weights(kind, n, k, random);
      const auto x = random_activations(m_max, k, random);
      const auto bias = random_activations(1, n, random);
      const auto start = random_activations(m_max, n, random);
      for (const isa set : variants) {
        const auto packed = pack(set, kind.type, weights, n, k, several());
        for (const std::size_t m : {std::size_t{1}, std::size_t{2}, std::size_t{16},
                                    std::size_t{32}, std::size_t{37}, std::size_t{64}, m_max}) {
          INFO(to_string(set) << " " << name_of(kind) << " M " << m << " N " << n);
          const std::vector<float> some(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(m * k));
          for (const float* chosen : {static_cast<const float*>(nullptr), bias.data()}) {
            auto wanted = multiply({packed, some, m, chosen}, single());
            for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] = start[i] + wanted[i];
            CHECK(same_bits(multiply({packed, some, m, chosen, start.data()}, several()), wanted));
          }
        }
      }
    }
  }
}

}  // namespace troupe::test
