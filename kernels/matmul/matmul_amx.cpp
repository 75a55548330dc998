// matmul for AMX (Intel's Xeons since 2023): weights become bf16 in a scratch that stays in L1, and
// tile instructions multiply them with activations in bf16. The other variants' numerics would
// leave the tiles idle: scaling each group's integer sums takes vectors longer than multiplying
// takes tiles. So this one has its own, which matmul.hpp states and matmul_bf16_ref.cpp spells out.
// Everything has internal linkage (see packed_layout.hpp).
#include "kernels/base/tile_registers_amx.hpp"
#include "kernels/matmul/bf16_layout.hpp"
#include "kernels/matmul/panel_unpacker_amx.hpp"

namespace troupe::kernels {

namespace {

// Panels that are multiplied together, with row tiles that are: 2 x 2 tiles of sums, so that each
// tile that is loaded is used twice.
constexpr std::size_t panels_together = 2;
constexpr std::size_t row_tiles_together = 2;
// Groups that are made bf16 at a time: up to 36 KiB, which stay in an L1 of 48 KiB as long as the
// activations pass it by. Formats whose blocks are several groups have as many whole ones.
constexpr std::size_t chunk_room = 18;
// A panel's weights are made bf16 again for each so many rows, which costs what 40 rows do.
constexpr std::size_t rows_max = 512;

// How many groups unpacking is ahead of multiplying.
constexpr std::size_t groups_ahead = 2;

struct alignas(64) weight_chunk {
  weight_group weights[panels_together][chunk_room];
};

using output_tile = float[tile_rows][panel_outputs];

struct alignas(64) sums_between_chunks {
  output_tile tiles[rows_max / tile_rows][panels_together];
};

// Sums in tiles 0 to 3 (2 * row tile + panel), activations in 4 and 5, weights in 6 and 7; with
// three row tiles sums in 0 to 5, activations in 6, weights in 7. With up to two row tiles in all,
// each has exactly the rows that there are, which is what products take.
tile_shapes shapes_for(std::size_t row_count) {
  const auto rows_from = [row_count](std::size_t begin) {
    const bool is_whole = row_count > row_tiles_together * tile_rows || row_count <= begin;
    return is_whole || row_count - begin > tile_rows ? tile_rows : row_count - begin;
  };
  constexpr std::size_t weights_first = 6;
  constexpr std::size_t row_tile_of[weights_first] = {0, 0, 1, 1, 0, 1};
  tile_shapes shapes;
  for (std::size_t i = 0; i < weights_first; ++i)
    shapes.set(i, rows_from(row_tile_of[i] * tile_rows), 64);
  for (std::size_t i = weights_first; i < 8; ++i) shapes.set(i, pair_rows, 64);
  return shapes;
}

// Groups of the panels that are multiplied together, made bf16.
struct chunk_range {
  std::size_t first = 0, count = 0;
  bool is_last = false;
};

// The panels that are multiplied together, and what is read after them.
struct panel_place {
  std::size_t index = 0;
  const std::uint8_t* panels = nullptr;
  const std::uint8_t* next_panels = nullptr;
};

// Where the sums of a block are while its chunks are multiplied one after another.
using block_sums = output_tile (*)[panels_together];

template <int RowTiles, int Panels>
TROUPE_INLINE void load_sums(block_sums sums) {
  constexpr std::size_t row_bytes = panel_outputs * sizeof(float);
  load_tile<0>(sums[0][0], row_bytes);
  if constexpr (Panels > 1) load_tile<1>(sums[0][1], row_bytes);
  if constexpr (RowTiles > 1) load_tile<2>(sums[1][0], row_bytes);
  if constexpr (RowTiles > 1 && Panels > 1) load_tile<3>(sums[1][1], row_bytes);
  if constexpr (RowTiles > 2) load_tile<4>(sums[2][0], row_bytes);
  if constexpr (RowTiles > 2 && Panels > 1) load_tile<5>(sums[2][1], row_bytes);
}

// Panels are panel_stride floats apart, row tiles tile_stride, rows row_stride.
template <int RowTiles, int Panels>
TROUPE_INLINE void store_sums(float* to, std::size_t panel_stride, std::size_t tile_stride,
                              std::size_t row_stride) {
  const std::size_t row_bytes = row_stride * sizeof(float);
  store_tile<0>(to, row_bytes);
  if constexpr (Panels > 1) store_tile<1>(to + panel_stride, row_bytes);
  if constexpr (RowTiles > 1) store_tile<2>(to + tile_stride, row_bytes);
  if constexpr (RowTiles > 1 && Panels > 1)
    store_tile<3>(to + tile_stride + panel_stride, row_bytes);
  if constexpr (RowTiles > 2) store_tile<4>(to + 2 * tile_stride, row_bytes);
  if constexpr (RowTiles > 2 && Panels > 1)
    store_tile<5>(to + 2 * tile_stride + panel_stride, row_bytes);
}

template <int RowTiles, int Panels>
TROUPE_INLINE void zero_sums() {
  zero_tile<0>();
  if constexpr (Panels > 1) zero_tile<1>();
  if constexpr (RowTiles > 1) zero_tile<2>();
  if constexpr (RowTiles > 1 && Panels > 1) zero_tile<3>();
  if constexpr (RowTiles > 2) zero_tile<4>();
  if constexpr (RowTiles > 2 && Panels > 1) zero_tile<5>();
}

// How activations are loaded: those of few rows are read again for the next panels; more go by, and
// must not push the weights out of L1.
enum class activation_use { again, passing };

template <activation_use Use, int Tile>
TROUPE_INLINE void load_activations(const bf16_group& x) {
  if constexpr (Use == activation_use::again) {
    load_tile<Tile>(x.values, sizeof x.values[0]);
  } else {
    load_passing_tile<Tile>(x.values, sizeof x.values[0]);
  }
}

// multiply_group with three row tiles, for which weights are loaded again.
template <int Panels, activation_use Use, class Work>
TROUPE_INLINE void multiply_three(const weight_group& first, const weight_group& second,
                                  const bf16_group* x, std::size_t group_count, const Work& work) {
  constexpr std::size_t weight_bytes = sizeof first[0];
  load_activations<Use, 6>(x[0]);
  load_tile<7>(first, weight_bytes);
  work.template operator()<0>();
  multiply_bf16_tiles<0, 6, 7>();
  if constexpr (Panels > 1) {
    load_tile<7>(second, weight_bytes);
    work.template operator()<1>();
    multiply_bf16_tiles<1, 6, 7>();
  }
  load_activations<Use, 6>(x[group_count]);
  work.template operator()<Panels>();
  multiply_bf16_tiles<2 + (Panels > 1), 6, 7>();
  if constexpr (Panels > 1) {
    load_tile<7>(first, weight_bytes);
    work.template operator()<3>();
    multiply_bf16_tiles<2, 6, 7>();
  }
  load_activations<Use, 6>(x[2 * group_count]);
  work.template operator()<2 * Panels>();
  multiply_bf16_tiles<4, 6, 7>();
  if constexpr (Panels > 1) {
    load_tile<7>(second, weight_bytes);
    work.template operator()<5>();
    multiply_bf16_tiles<5, 6, 7>();
  }
}

// multiply_group with one or two row tiles.
template <int RowTiles, int Panels, activation_use Use, class Work>
TROUPE_INLINE void multiply_two(const weight_group& first, const weight_group& second,
                                const bf16_group* x, std::size_t group_count, const Work& work) {
  constexpr std::size_t weight_bytes = sizeof first[0];
  load_activations<Use, 4>(x[0]);
  load_tile<6>(first, weight_bytes);
  work.template operator()<0>();
  multiply_bf16_tiles<0, 4, 6>();
  if constexpr (Panels > 1) {
    load_tile<7>(second, weight_bytes);
    work.template operator()<1>();
    multiply_bf16_tiles<1, 4, 7>();
  }
  if constexpr (RowTiles > 1) {
    load_activations<Use, 5>(x[group_count]);
    work.template operator()<Panels>();
    multiply_bf16_tiles<2, 5, 6>();
    if constexpr (Panels > 1) {
      work.template operator()<3>();
      multiply_bf16_tiles<3, 5, 7>();
    }
  }
}

// Adds the products of one group; row tiles of x are group_count apart. Before product i comes
// work(i) for vectors: what is between them can run beside them.
template <int RowTiles, int Panels, activation_use Use, class Work>
TROUPE_INLINE void multiply_group(const weight_group& first, const weight_group& second,
                                  const bf16_group* x, std::size_t group_count, const Work& work) {
  if constexpr (RowTiles == 3) {
    multiply_three<Panels, Use>(first, second, x, group_count, work);
  } else {
    multiply_two<RowTiles, Panels, Use>(first, second, x, group_count, work);
  }
}

template <int RowTiles, int Panels>
TROUPE_INLINE void begin_sums(const chunk_range& range, block_sums sums) {
  if (range.first == 0) {
    zero_sums<RowTiles, Panels>();
  } else {
    load_sums<RowTiles, Panels>(sums);
  }
}

// Rows first_row .. first_row + row_count - 1 of panels `panel` .. as far as they are outputs.
template <int Panels>
void store_rows(const quantized_tile& tile, std::size_t panel, std::size_t first_row,
                std::size_t row_count, block_sums sums) {
  const __m512 factor = _mm512_set1_ps(tile.output_factor);
  for (std::size_t p = 0; p < Panels; ++p) {
    output_block out = tile.output;
    out.first += first_row * out.stride;
    for (std::size_t row = 0; row < row_count; ++row, out.first += out.stride) {
      const float* sum = sums[row / tile_rows][p][row % tile_rows];
      const __m512 y[1] = {_mm512_mul_ps(_mm512_load_ps(sum), factor)};
      store_panel(out, panel + p, y);
    }
  }
}

template <int RowTiles, int Panels>
TROUPE_INLINE void spill_sums(block_sums sums) {
  constexpr std::size_t tile_floats = tile_rows * panel_outputs;
  store_sums<RowTiles, Panels>(sums[0][0][0], tile_floats, panels_together * tile_floats,
                               panel_outputs);
}

// Writes the registers' sums as outputs of row tiles at .. at + RowTiles - 1, by way of `sums`
// where the registers hold more rows or panels than there are outputs, or these are not the sums.
template <int RowTiles, int Panels>
TROUPE_INLINE void finish_block(const quantized_tile& tile, std::size_t panel, std::size_t at,
                                block_sums sums) {
  const output_block& out = tile.output;
  const std::size_t first_row = at * tile_rows;
  const std::size_t rows_left = tile.row_count - first_row;
  const std::size_t row_count = rows_left < RowTiles * tile_rows ? rows_left : RowTiles * tile_rows;
  const bool are_all_rows =
      row_count == RowTiles * tile_rows || tile.row_count <= row_tiles_together * tile_rows;
  const bool has_whole_panels = (panel + Panels) * panel_outputs <= out.output_count;
  if (are_all_rows && has_whole_panels && out.bias == nullptr && !out.adds &&
      tile.output_factor == 1.0f) {
    store_sums<RowTiles, Panels>(out.first + first_row * out.stride + panel * panel_outputs,
                                 panel_outputs, tile_rows * out.stride, out.stride);
    return;
  }
  spill_sums<RowTiles, Panels>(sums);
  store_rows<Panels>(tile, panel, first_row, row_count, sums);
}

// A chunk is done with: the sums go to the outputs, or wait for the next chunk.
template <int RowTiles, int Panels>
TROUPE_INLINE void end_sums(const quantized_tile& tile, std::size_t panel, const chunk_range& range,
                            std::size_t at, block_sums sums) {
  if (range.is_last) {
    finish_block<RowTiles, Panels>(tile, panel, at, sums);
  } else {
    spill_sums<RowTiles, Panels>(sums);
  }
}

// Row tiles at .. at + RowTiles - 1 with a chunk that is bf16 already.
template <int RowTiles, int Panels>
TROUPE_INLINE void run_block(const quantized_tile& tile, std::size_t panel,
                             const weight_chunk& chunk, const chunk_range& range, std::size_t at,
                             block_sums sums) {
  const bf16_group* const x = tile.bf16_activations + at * tile.group_count + range.first;
  begin_sums<RowTiles, Panels>(range, sums);
  for (std::size_t g = 0; g < range.count; ++g) {
    multiply_group<RowTiles, Panels, activation_use::passing>(
        chunk.weights[0][g], chunk.weights[Panels - 1][g], x + g, tile.group_count, []<int> {});
  }
  end_sums<RowTiles, Panels>(tile, panel, range, at, sums);
}

// The first rows' products with a chunk, whose weights are made bf16 on the way: a part of a group
// between any two products with one before it. Together these are less than what waits for its turn
// in a core, so that vectors, tiles and the memory are busy at once. Of the chunk, the last
// kept_groups stay.
template <packing Format, int RowTiles, int Panels, activation_use Use>
TROUPE_INLINE void multiply_first_rows(const quantized_tile& tile, const panel_place& place,
                                       const chunk_range& range, std::size_t kept_groups,
                                       weight_chunk& chunk, block_sums sums) {
  panel_unpacker<Format> first(tile, place.panels, range.first, place.next_panels);
  panel_unpacker<Format> second(tile, place.panels + (Panels - 1) * tile.panel_bytes, range.first,
                                place.next_panels + (Panels - 1) * tile.panel_bytes);
  // Halves of the first panel's group, then of the second's.
  const auto unpack_part = [&]<int Part>(std::size_t slot) TROUPE_INLINE_LAMBDA {
    if constexpr (Part < 2) {
      first.template put_half<Part>(chunk.weights[0][slot]);
    } else if constexpr (Part < 2 * Panels) {
      second.template put_half<Part % 2>(chunk.weights[1][slot]);
    }
  };
  begin_sums<RowTiles, Panels>(range, sums);
  for (std::size_t g = 0; g < groups_ahead && g < range.count; ++g) {
    unpack_part.template operator()<0>(g);
    unpack_part.template operator()<1>(g);
    unpack_part.template operator()<2>(g);
    unpack_part.template operator()<3>(g);
  }
  const bf16_group* const x = tile.bf16_activations + range.first;
  std::size_t slot = 0, slot_ahead = groups_ahead;
  const auto multiply_next = [&](std::size_t g, const auto& work) TROUPE_INLINE_LAMBDA {
    multiply_group<RowTiles, Panels, Use>(chunk.weights[0][slot], chunk.weights[Panels - 1][slot],
                                          x + g, tile.group_count, work);
    if (++slot == kept_groups) slot = 0;
  };
  std::size_t g = 0;
  for (; g + groups_ahead < range.count; ++g) {
    multiply_next(g, [&]<int Product>() TROUPE_INLINE_LAMBDA {
      constexpr int parts = RowTiles > 1 ? 1 : 2;  // of each product
      constexpr int part = Product * parts;
      unpack_part.template operator()<part>(slot_ahead);
      if constexpr (parts > 1) unpack_part.template operator()<part + 1>(slot_ahead);
    });
    if (++slot_ahead == kept_groups) slot_ahead = 0;
  }
  for (; g < range.count; ++g) multiply_next(g, []<int> {});
  end_sums<RowTiles, Panels>(tile, place.index, range, 0, sums);
}

template <packing Format, int Panels>
TROUPE_INLINE void multiply_panels(const quantized_tile& tile, const panel_place& place,
                                   weight_chunk& chunk, sums_between_chunks& sums) {
  const std::size_t row_tiles = (tile.row_count + tile_rows - 1) / tile_rows;
  // A row tile by itself would wait for its own sums, so the first rows take an odd one in: they
  // wait for the weights anyway.
  const std::size_t first_tiles =
      row_tiles > row_tiles_together ? row_tiles_together + row_tiles % 2 : row_tiles;
  // Where the first rows are all, nothing of a chunk is read again: it is all of K.
  const bool is_read_again = row_tiles > first_tiles;
  const std::size_t chunk_size =
      is_read_again ? chunk_groups<Format, chunk_room>(tile.group_count) : tile.group_count;
  const std::size_t kept_groups = is_read_again ? chunk_room : groups_ahead + 1;
  chunk_range range;
  for (; range.first < tile.group_count; range.first += range.count) {
    const std::size_t groups_left = tile.group_count - range.first;
    range.count = groups_left < chunk_size ? groups_left : chunk_size;
    range.is_last = range.count == groups_left;
    const auto multiply_first = [&]<int RowTiles, activation_use Use> {
      multiply_first_rows<Format, RowTiles, Panels, Use>(tile, place, range, kept_groups, chunk,
                                                         sums.tiles);
    };
    if (row_tiles == 1) {
      multiply_first.template operator()<1, activation_use::again>();
    } else if (row_tiles == 2) {
      multiply_first.template operator()<2, activation_use::again>();
    } else if (row_tiles == 3) {
      multiply_first.template operator()<3, activation_use::again>();
    } else if (first_tiles == 2) {
      multiply_first.template operator()<2, activation_use::passing>();
    } else {
      multiply_first.template operator()<3, activation_use::passing>();
    }
    for (std::size_t at = first_tiles; at < row_tiles; at += row_tiles_together)
      run_block<row_tiles_together, Panels>(tile, place.index, chunk, range, at, sums.tiles + at);
  }
}

template <packing Format>
void multiply_tile(const quantized_tile& tile) {
  const tile_registers registers(shapes_for(tile.row_count));
  weight_chunk chunk;
  sums_between_chunks sums;
  panel_place place;
  for (; place.index < tile.panel_count; place.index += panels_together) {
    const std::size_t left = tile.panel_count - place.index;
    place.panels = tile.panels + place.index * tile.panel_bytes;
    place.next_panels = left > panels_together ? place.panels + panels_together * tile.panel_bytes
                                               : tile.next_panel;
    if (left == 1) {
      multiply_panels<Format, 1>(tile, place, chunk, sums);
    } else {
      multiply_panels<Format, panels_together>(tile, place, chunk, sums);
    }
  }
}

void quantized(const quantized_tile& tile) {
  with_packing(tile.format, [&tile]<packing Format> {
    if constexpr (!parts_of<Format>.has_zero_point) multiply_tile<Format>(tile);
  });
}

// One group of a row: columns 0, 2, 1, 3 of each quad.
TROUPE_INLINE void round_group(const float* x, std::size_t left, std::uint16_t* to) {
  const std::uint32_t mask = left >= 32 ? ~0u : (1u << left) - 1;
  const __m512 factor = _mm512_set1_ps(bf16_activation_factor);
  const __m512 first = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x);
  const __m512 second = left > 16
                            ? _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + 16)
                            : _mm512_setzero_ps();
  const __m512i words = reinterpret_cast<__m512i>(
      _mm512_cvtne2ps_pbh(_mm512_mul_ps(second, factor), _mm512_mul_ps(first, factor)));
  // Within each 64 bits, words 0, 2, 1, 3.
  _mm512_store_si512(to, _mm512_shufflehi_epi16(_mm512_shufflelo_epi16(words, 0xD8), 0xD8));
}

void round_row(const float* x, std::size_t column_count, const row_target& target) {
  for (std::size_t at = 0, g = 0; at < column_count; at += 32, ++g)
    round_group(x + at, column_count - at, target.bf16_groups[g].values[target.row_in_tile]);
}

}  // namespace

const matmul_kernels matmul_amx{
    .rows_max = rows_max,
    .outputs_together = panels_together * panel_outputs,
    .rows_alone_min = tile_rows + 1,  // a tile each: together, threads unpack once for both
    .unpack_cycles = 50,
    .row_instructions = 4,
    .quantize = quantize_row_by_row<round_row>,
    .quantized = quantized,
    .floats = floats_on_vectors,
};

}  // namespace troupe::kernels
