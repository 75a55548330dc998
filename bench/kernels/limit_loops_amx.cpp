// The limit loop of tile instructions on bf16: four tiles of sums, as many as it takes to hide the
// latency of one.
#include "bench/kernels/limit_loops.hpp"
#include "kernels/base/tile_registers_amx.hpp"

namespace troupe::bench {
namespace {

constexpr double tile_operations = 16 * 16 * 32 * 2.0;

std::uint64_t bf16_tiles(std::size_t round_count) {
  kernels::tile_shapes shapes;
  for (std::size_t tile = 0; tile < 8; ++tile) shapes.set(tile, 16, 64);
  const kernels::tile_registers registers(shapes);  // all of them begin as zeros
  for (std::size_t round = 0; round < round_count; ++round) {
    kernels::multiply_bf16_tiles<0, 4, 6>();
    kernels::multiply_bf16_tiles<1, 4, 7>();
    kernels::multiply_bf16_tiles<2, 5, 6>();
    kernels::multiply_bf16_tiles<3, 5, 7>();
  }
  alignas(64) std::uint64_t sums[128];
  kernels::store_tile<0>(sums, 64);
  return sums[0];
}

}  // namespace

const compute_loop bf16_tiles_amx{bf16_tiles, 4 * tile_operations};

}  // namespace troupe::bench
