// matmul in 8-bit integers on AMX's tiles, for isa::avx512 where the machine has AMX_INT8 too. A
// group's dot products are exact integers however they are summed, so the bits are those of every
// other variant: tiles make them for 16 rows and 16 outputs at a time, and vectors scale and add
// them as matmul_avx512.cpp does. Weights become bytes in a scratch that stays in L1; what is left
// to vectors is a third of what they do alone. A core takes turns between tiles and vectors, so
// that each does a few groups at once. Everything has internal linkage (see packed_layout.hpp).
#include "kernels/base/tile_registers_amx.hpp"
#include "kernels/matmul/panels_avx512.hpp"

namespace troupe::kernels {

namespace {

// Panels that are multiplied together, with row tiles that are: each tile that is loaded is used
// twice.
constexpr std::size_t panels_together = 2;
constexpr std::size_t row_tiles_together = 2;
constexpr std::size_t blocks_together = panels_together * row_tiles_together;
// Groups that are unpacked at a time: with their scales 23 KiB, which stay in an L1 of 48 KiB
// beside activations and products. K-quants have whole blocks.
constexpr std::size_t chunk_room = 18;
// Groups whose products are made, then added: 12 KiB of products.
constexpr std::size_t groups_together = 3;
// Rows for which a panel is unpacked once.
constexpr std::size_t rows_max = 256;
// Rows left over by whole tiles that are worth one: it has 16 rows however many there are.
constexpr std::size_t rows_left_min = 12;

// Element b of quad j of the 16 outputs in byte 4 * output + b of row j, with its sign: the offset
// is taken off. With zero points it is unsigned, and rows look up what is taken off.
using weight_group = std::int8_t[8][4 * panel_outputs];

struct alignas(64) panel_chunk {
  weight_group weights[chunk_room];
  float scales[chunk_room][panel_outputs];
  float minima[chunk_room][panel_outputs];
  std::int32_t fractions[chunk_room][panel_outputs];
};

using integer_block = std::int32_t[tile_rows][panel_outputs];
using float_block = float[tile_rows][panel_outputs];

struct alignas(64) group_products {
  integer_block blocks[groups_together][blocks_together];
};

// Of two row tiles and two panels, while their chunks are multiplied one after another.
struct alignas(64) block_sums {
  float_block scaled[blocks_together];
  float_block minima[blocks_together];
};

struct scratch_space {
  panel_chunk chunks[panels_together];
  group_products products;
  block_sums sums[rows_max / tile_rows / row_tiles_together];
};

// Products in tiles 0 to 3 (2 * panel + row tile), activations in 4 and 5, weights in 6 and 7.
tile_shapes shapes() {
  tile_shapes shapes;
  for (std::size_t i = 0; i < 4; ++i) shapes.set(i, tile_rows, 4 * panel_outputs);
  for (std::size_t i = 4; i < 6; ++i) shapes.set(i, tile_rows, 32);
  for (std::size_t i = 6; i < 8; ++i) shapes.set(i, 8, 4 * panel_outputs);
  return shapes;
}

// Groups first_group .. first_group + group_count - 1 of a panel; they begin with a block. Asks for
// as much of what is read next.
template <packing Format>
TROUPE_INLINE void unpack(const quantized_tile& tile, const std::uint8_t* panel,
                          const std::uint8_t* next, std::size_t first_group,
                          std::size_t group_count, panel_chunk& chunk) {
  constexpr quantized_packing parts = parts_of<Format>;
  const std::uint8_t* q = panel + first_group * parts.group_bytes;
  const std::uint8_t* block = panel + tile.group_count * parts.group_bytes +
                              first_group / parts.block_groups * parts.block_scale_bytes;
  next += first_group * parts.group_lines * 64;
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(1 << tile.offset_shift));
  for (std::size_t g = 0; g < group_count; block += parts.block_scale_bytes) {
    const __m512 d = block_scale<Format>(block);
    const __m512 d_minimum = block_minimum<Format>(block);
    for (std::size_t i = 0; i < parts.block_groups; ++i, ++g, q += parts.group_bytes) {
#pragma GCC unroll 16
      for (std::size_t line = 0; line < parts.group_lines; ++line, next += 64)
        _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1);
      __m512i quads[8];
      load_weights<Format>(q, block, i, quads);
      for (int j = 0; j < 8; ++j) {
        const __m512i values = parts.has_minimum || parts.has_zero_point
                                   ? quads[j]
                                   : _mm512_sub_epi8(quads[j], offset);
        _mm512_store_si512(chunk.weights[g][j], values);
      }
      _mm512_store_ps(chunk.scales[g], scaled<Format>(d, block, 2 * i));
      if constexpr (parts.has_minimum)
        _mm512_store_ps(chunk.minima[g], scaled<Format>(d_minimum, block, 2 * i + 1));
      if constexpr (parts.has_zero_point)
        _mm512_store_si512(chunk.fractions[g], load_fractions<Format>(block, i));
    }
  }
}

// Row tiles of activations that are multiplied together, group_count groups apart.
struct row_tiles {
  const activation_group* first;
  std::size_t group_count;

  [[nodiscard]] const activation_group* tile(std::size_t index) const {
    return first + index * group_count;
  }
};

// Products of groups first .. first + count - 1 of a chunk with those of x. A tile's products are
// stored while the next group's are made.
template <packing Format, std::size_t RowTiles, std::size_t Panels>
TROUPE_INLINE void make_products(const panel_chunk (&chunks)[panels_together], const row_tiles& x,
                                 std::size_t first, std::size_t count, group_products& products) {
  constexpr std::size_t store_bytes = sizeof products.blocks[0][0][0];
  constexpr std::size_t row_bytes = sizeof(activation_group::values[0]);
  constexpr std::size_t quad_bytes = sizeof(weight_group) / 8;
  const auto for_each_block = [](const auto& work) TROUPE_INLINE_LAMBDA {
    work.template operator()<0, 4, 6>();
    if constexpr (RowTiles > 1) work.template operator()<1, 5, 6>();
    if constexpr (Panels > 1) work.template operator()<2, 4, 7>();
    if constexpr (RowTiles > 1 && Panels > 1) work.template operator()<3, 5, 7>();
  };
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t g = first + i;
    load_tile<4>(x.tile(0)[g].values, row_bytes);
    load_tile<6>(chunks[0].weights[g], quad_bytes);
    if constexpr (RowTiles > 1) load_tile<5>(x.tile(1)[g].values, row_bytes);
    if constexpr (Panels > 1) load_tile<7>(chunks[1].weights[g], quad_bytes);
    for_each_block([&]<int Block, int Left, int Right>() TROUPE_INLINE_LAMBDA {
      if (i != 0) store_tile<Block>(products.blocks[i - 1][Block], store_bytes);
      zero_tile<Block>();
      if constexpr (parts_of<Format>.has_zero_point) {
        multiply_signed_by_unsigned_byte_tiles<Block, Left, Right>();
      } else {
        multiply_byte_tiles<Block, Left, Right>();
      }
    });
  }
  for_each_block([&]<int Block, int Left, int Right>() TROUPE_INLINE_LAMBDA {
    store_tile<Block>(products.blocks[count - 1][Block], store_bytes);
  });
}

// Of a float block: what is added to it begins at zero, or where it was left; and is left there, or
// is an output.
TROUPE_INLINE void load_block(const float_block& from, bool is_first, __m512 (&to)[tile_rows]) {
  for (std::size_t r = 0; r < tile_rows; ++r)
    to[r] = is_first ? _mm512_setzero_ps() : _mm512_load_ps(from[r]);
}

TROUPE_INLINE void store_block(const __m512 (&from)[tile_rows], float_block& to) {
  for (std::size_t r = 0; r < tile_rows; ++r) _mm512_store_ps(to[r], from[r]);
}

// sums = fma(float(product), d * a, sums), for groups first .. first + count - 1.
template <packing Format>
TROUPE_INLINE void add_products(const panel_chunk& chunk, const activation_group* x,
                                std::size_t first, std::size_t count,
                                const group_products& products, std::size_t block,
                                __m512 (&acc)[tile_rows]) {
  for (std::size_t i = 0; i < count; ++i) {
    const __m512 scale = _mm512_load_ps(chunk.scales[first + i]);
    const activation_group& rows = x[first + i];
    const integer_block& dots = products.blocks[i][block];
#pragma GCC unroll 16
    for (std::size_t r = 0; r < tile_rows; ++r) {
      const float a = rows.part[r / part_rows].scale[r % part_rows];
      __m512i dot = _mm512_load_si512(dots[r]);
      if constexpr (parts_of<Format>.has_zero_point) {
        const __m512i fractions = _mm512_load_si512(chunk.fractions[first + i]);
        const __m512i offsets = load_offset_sums(rows, r);
        dot = _mm512_add_epi32(dot, _mm512_permutexvar_epi32(fractions, offsets));
      }
      acc[r] =
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(scale, _mm512_set1_ps(a)), acc[r]);
    }
  }
}

// sums = fma(m, a * sum(x8), sums), for the chunk's groups.
TROUPE_INLINE void add_minima(const panel_chunk& chunk, const activation_group* x,
                              std::size_t count, bool is_first, float_block& sums) {
  __m512 acc[tile_rows];
  load_block(sums, is_first, acc);
  for (std::size_t g = 0; g < count; ++g) {
    const __m512 minimum = _mm512_load_ps(chunk.minima[g]);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < tile_rows; ++r) {
      const float sum = x[g].part[r / part_rows].scaled_sum[r % part_rows];
      acc[r] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(sum), acc[r]);
    }
  }
  store_block(acc, sums);
}

// Groups of the panels that are multiplied together, unpacked.
struct chunk_range {
  std::size_t first, count;
  bool is_first, is_last;
};

// Writes some rows' outputs of a panel.
struct output_place {
  output_block rows;
  std::size_t row_count, panel;

  TROUPE_INLINE void store(const __m512 (&sums)[tile_rows]) const {
    if (row_count >= tile_rows) return store_panel(rows, panel, sums);
    output_block row = rows;
    for (std::size_t r = 0; r < row_count; ++r, row.first += row.stride) {
      const __m512 y[1] = {sums[r]};
      store_panel(row, panel, y);
    }
  }
};

// Adds a chunk's groups to the sums of some row tiles and panels: rows first_row .. of the tile,
// panels `panel` ..
template <packing Format, std::size_t RowTiles, std::size_t Panels>
void add_chunk(const quantized_tile& tile, std::size_t panel, std::size_t first_row,
               const panel_chunk (&chunks)[panels_together], const chunk_range& range,
               group_products& products, block_sums& sums) {
  const row_tiles x{tile.activations + first_row / tile_rows * tile.group_count + range.first,
                    tile.group_count};
  const auto for_blocks = [&](const auto& work) TROUPE_INLINE_LAMBDA {
    for (std::size_t p = 0; p < Panels; ++p) {
      for (std::size_t t = 0; t < RowTiles; ++t) work(p, t, row_tiles_together * p + t);
    }
  };
  for (std::size_t g = 0; g < range.count; g += groups_together) {
    const std::size_t left = range.count - g;
    const std::size_t count = left < groups_together ? left : groups_together;
    // Not before: they would push out of L1 what the products read.
    if (parts_of<Format>.has_minimum && count == left) {
      for_blocks([&](std::size_t p, std::size_t t, std::size_t block) TROUPE_INLINE_LAMBDA {
        add_minima(chunks[p], x.tile(t), range.count, range.is_first, sums.minima[block]);
      });
    }
    make_products<Format, RowTiles, Panels>(chunks, x, g, count, products);
    for_blocks([&](std::size_t p, std::size_t t, std::size_t block) TROUPE_INLINE_LAMBDA {
      __m512 acc[tile_rows];
      load_block(sums.scaled[block], range.is_first && g == 0, acc);
      add_products<Format>(chunks[p], x.tile(t), g, count, products, block, acc);
      if (!range.is_last || count < left) return store_block(acc, sums.scaled[block]);
      if constexpr (parts_of<Format>.has_minimum) {
        for (std::size_t r = 0; r < tile_rows; ++r)
          acc[r] = _mm512_add_ps(acc[r], _mm512_load_ps(sums.minima[block][r]));
      }
      output_block rows = tile.output;
      const std::size_t row = first_row + t * tile_rows;
      rows.first += row * rows.stride;
      output_place{rows, tile.row_count - row, panel + p}.store(acc);
    });
  }
}

// Panels `panel` .. panel + Panels - 1, for all rows.
template <packing Format, std::size_t Panels>
void multiply_panels(const quantized_tile& tile, std::size_t panel, const std::uint8_t* next,
                     scratch_space& scratch) {
  const std::uint8_t* const panels = tile.panels + panel * tile.panel_bytes;
  const std::size_t chunk_size = chunk_groups<Format, chunk_room>(tile.group_count);
  for (std::size_t first = 0; first < tile.group_count; first += chunk_size) {
    const std::size_t left = tile.group_count - first;
    const chunk_range range{first, left < chunk_size ? left : chunk_size, first == 0,
                            left <= chunk_size};
    for (std::size_t p = 0; p < Panels; ++p) {
      unpack<Format>(tile, panels + p * tile.panel_bytes, next + p * tile.panel_bytes, range.first,
                     range.count, scratch.chunks[p]);
    }
    constexpr std::size_t rows_together = row_tiles_together * tile_rows;
    for (std::size_t row = 0; row < tile.row_count; row += rows_together) {
      block_sums& sums = scratch.sums[row / rows_together];
      if (tile.row_count - row > tile_rows) {
        add_chunk<Format, 2, Panels>(tile, panel, row, scratch.chunks, range, scratch.products,
                                     sums);
      } else {
        add_chunk<Format, 1, Panels>(tile, panel, row, scratch.chunks, range, scratch.products,
                                     sums);
      }
    }
  }
}

template <packing Format>
void multiply_tile(const quantized_tile& tile) {
  const tile_registers registers(shapes());
  scratch_space scratch;
  for (std::size_t panel = 0; panel < tile.panel_count; panel += panels_together) {
    const std::size_t left = tile.panel_count - panel;
    const std::uint8_t* const next =
        left > panels_together ? tile.panels + (panel + panels_together) * tile.panel_bytes
                               : tile.next_panel;
    if (left == 1) {
      multiply_panels<Format, 1>(tile, panel, next, scratch);
    } else {
      multiply_panels<Format, panels_together>(tile, panel, next, scratch);
    }
  }
}

// The rows from first_row on, row_count of them.
quantized_tile rows_of(const quantized_tile& tile, std::size_t first_row, std::size_t row_count) {
  quantized_tile part = tile;
  part.activations += first_row / tile_rows * tile.group_count;
  part.row_count = row_count;
  part.output.first += first_row * tile.output.stride;
  return part;
}

void quantized(const quantized_tile& tile) {
  const std::size_t left = tile.row_count % tile_rows;
  const std::size_t on_tiles = left < rows_left_min ? tile.row_count - left : tile.row_count;
  with_packing(tile.format, [&]<packing Format> {
    if constexpr (parts_of<Format>.has_halves) {
      // Beside another format of the set: two products a group would take as long as vectors do.
      for (std::size_t row = 0; row < on_tiles; row += tile_rows) {
        const std::size_t rows_left = on_tiles - row;
        matmul_avx512.quantized(rows_of(tile, row, rows_left < tile_rows ? rows_left : tile_rows));
      }
    } else if (on_tiles > 0) {
      multiply_tile<Format>(rows_of(tile, 0, on_tiles));
    }
  });
  if (on_tiles < tile.row_count) matmul_avx512.quantized(rows_of(tile, on_tiles, left));
}

}  // namespace

const matmul_kernels matmul_bytes_amx{
    .rows_max = rows_max,
    .outputs_together = panels_together * panel_outputs,
    .rows_alone_min = byte_tiles_rows_min,
    .unpack_cycles = 6,
    .row_instructions = 11,
    .quantize = quantize_avx512,
    .quantized = quantized,
    .floats = floats_on_vectors,
};

}  // namespace troupe::kernels
