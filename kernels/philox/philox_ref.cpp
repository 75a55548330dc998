#include <cstddef>

#include "kernels/philox/philox.hpp"

namespace troupe::kernels::detail {

void make_philox_ref(const philox_counter& first, const philox_key& key, philox_sixteen& out) {
  out.largest = 0;
  for (std::uint32_t i = 0; i < 16; ++i) {
    const philox_counter made = philox4x32({first[0] + i, first[1], first[2], first[3]}, key);
    for (std::size_t word = 0; word < 4; ++word) {
      out.words[word][i] = made[word];
      out.largest = made[word] > out.largest ? made[word] : out.largest;
    }
  }
}

}  // namespace troupe::kernels::detail
