// The two register-blocked products of attention, written once for both vector widths: scores of
// some query rows against tiles of 16 keys, and weighted sums of V. Each output has one
// accumulator, so a tiling changes no bits. Simd is one of kernels/base/simd_*.hpp; for *_avx2.cpp,
// *_avx512.cpp and *_amx.cpp only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/attention/attention_item.hpp"

namespace troupe::kernels {

/// Elements between rows in an item's scratch: whole vectors, and not a multiple of 4096 bytes over
/// few rows, which would put all rows into the same cache sets.
inline constexpr std::size_t attention_row_stride = attention_head_dim_max + 16;

/// So few rows (decode) wait for memory rather than for arithmetic, and a tile is too short for the
/// hardware to see a stream. So scoring asks for the V tiles that will be weighed and for the next
/// K tiles, and weighing asks for the K tiles that will be scored next, in the next segment or
/// item: each half asks for about as much as it reads, and the memory is never idle.
inline constexpr int prefetch_rows_max = 8;
inline constexpr std::size_t cache_line_bytes = 64;

/// Where the tiles of 16 keys of one segment are. Behind the last key tile come addresses that may
/// be prefetched.
struct segment_tiles {
  static constexpr std::size_t ahead_max = 4;  // the most tiles that score_tiles takes at once
  const std::byte* keys[detail::attention_segment_tiles + ahead_max];
  const std::byte* values[detail::attention_segment_tiles];
  const std::byte* next_keys[detail::attention_segment_tiles];  ///< scored after this segment; any
                                                                ///< address where there are none
};

/// Asks for the cache lines of some bytes, into L2: they are read later than what fits L1.
template <std::size_t Bytes>
inline __attribute__((always_inline)) void prefetch_lines(const void* from) {
#pragma GCC unroll 16
  for (std::size_t byte = 0; byte < Bytes; byte += cache_line_bytes) {
    __builtin_prefetch(static_cast<const std::byte*>(from) + byte, 0, 2);
  }
}

/// Calls work.template operator()<Type>() for the type.
template <class Simd, class Work>
void with_kv_type(kv_dtype type, const Work& work) {
  switch (type) {
    case kv_dtype::f32: return work.template operator()<kv_dtype::f32>();
    case kv_dtype::f16: return work.template operator()<kv_dtype::f16>();
    case kv_dtype::bf16: return work.template operator()<kv_dtype::bf16>();
    case kv_dtype::int8: return work.template operator()<kv_dtype::int8>();
  }
}

/// While Tiles tiles from `tile` on are scored, the cache line at an offset of each one's V and of
/// the K that is scored next: with few rows only.
template <int Rows, int Tiles>
inline __attribute__((always_inline)) void prefetch_ahead(const segment_tiles& tiles,
                                                          std::size_t tile, std::size_t offset) {
  if constexpr (Rows <= prefetch_rows_max) {
#pragma GCC unroll 16
    for (int t = 0; t < Tiles; ++t) {
      const std::size_t at = tile + static_cast<std::size_t>(t);
      __builtin_prefetch(tiles.values[at] + offset, 0, 2);
      __builtin_prefetch(tiles.keys[at + Tiles] + offset, 0, 2);
    }
  }
}

template <class Simd, kv_dtype Type>
struct kv_elements {
  using element = std::conditional_t<Type == kv_dtype::f32, float, std::uint16_t>;

  static Simd load(const element* from) {
    if constexpr (Type == kv_dtype::f32) {
      return Simd::load(from);
    } else if constexpr (Type == kv_dtype::f16) {
      return Simd::load_f16(from);
    } else {
      return Simd::load_bf16(from);
    }
  }
  /// One element; reads nothing behind it.
  static float load_one(const element* from) {
    if constexpr (Type == kv_dtype::f32) {
      return *from;
    } else if constexpr (Type == kv_dtype::f16) {
      return _cvtsh_ss(*from);
    } else {
      return __builtin_bit_cast(float, static_cast<std::uint32_t>(*from) << 16);
    }
  }
  static void store(Simd value, element* to) {
    if constexpr (Type == kv_dtype::f32) {
      value.store(to);
    } else if constexpr (Type == kv_dtype::f16) {
      value.store_f16(to);
    } else {
      value.store_bf16(to);
    }
  }
};

/// Rows that are attention_row_stride apart.
template <class Simd, int Rows, int Columns>
inline __attribute__((always_inline)) void store_sums(const Simd (&sums)[Rows][Columns],
                                                      float* to) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < Columns; ++c) {
      sums[r][c].store(to + static_cast<std::size_t>(r) * attention_row_stride +
                       static_cast<std::size_t>(c) * Simd::width);
    }
  }
}

/// scores[r][tile * 16 + lane] = sum over d of query[r][d] * K[d][lane], for Rows rows and
/// Tiles tiles.
template <class Simd, kv_dtype Type, int Rows, int Tiles>
void score_tiles(const float* query, const segment_tiles& tiles, std::size_t tile,
                 std::size_t head_dim, float* scores) {
  using elements = kv_elements<Simd, Type>;
  using element = typename elements::element;
  constexpr int parts = 16 / static_cast<int>(Simd::width);
  constexpr int columns = Tiles * parts;
  const element* keys[Tiles];
  for (int t = 0; t < Tiles; ++t) {
    keys[t] = reinterpret_cast<const element*>(tiles.keys[tile + static_cast<std::size_t>(t)]);
  }
  Simd sums[Rows][columns];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < columns; ++c) sums[r][c] = Simd::zero();
  }
  for (std::size_t d = 0; d < head_dim; ++d) {
    if (d % 2 == 0) {  // two rows of a 16-bit tile are a cache line
      prefetch_ahead<Rows, Tiles>(tiles, tile, d * kv_tile_tokens * sizeof(element));
    }
    Simd key[columns];
#pragma GCC unroll 16
    for (int c = 0; c < columns; ++c) {
      key[c] = elements::load(keys[c / parts] + d * kv_tile_tokens +
                              static_cast<std::size_t>(c % parts) * Simd::width);
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const Simd q = Simd::broadcast(query[static_cast<std::size_t>(r) * attention_row_stride + d]);
#pragma GCC unroll 16
      for (int c = 0; c < columns; ++c) sums[r][c] = Simd::fma(q, key[c], sums[r][c]);
    }
  }
  store_sums(sums, scores);
}

/// sums[r][column] += sum over keys first .. end - 1 (of the segment) of weights[r][key] *
/// V[key][column], for Rows rows and Columns vectors of channels that begin at channel.
template <class Simd, kv_dtype Type, int Rows, int Columns>
void weigh_values(const float* weights, const segment_tiles& tiles, std::size_t head_dim,
                  std::size_t first, std::size_t end, std::size_t channel, float* output) {
  using elements = kv_elements<Simd, Type>;
  using element = typename elements::element;
  Simd sums[Rows][Columns];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < Columns; ++c) {
      sums[r][c] = Simd::load(output + static_cast<std::size_t>(r) * attention_row_stride +
                              channel + static_cast<std::size_t>(c) * Simd::width);
    }
  }
  for (std::size_t key = first; key < end;) {
    const std::size_t tile = key / kv_tile_tokens;
    const std::size_t tile_end =
        (tile + 1) * kv_tile_tokens < end ? (tile + 1) * kv_tile_tokens : end;
    const std::size_t offset = key % kv_tile_tokens * head_dim + channel;
    const element* values = reinterpret_cast<const element*>(tiles.values[tile]) + offset;
    const element* next_keys = reinterpret_cast<const element*>(tiles.next_keys[tile]) + offset;
    for (; key < tile_end; ++key, values += head_dim, next_keys += head_dim) {
      if constexpr (Rows <= prefetch_rows_max)
        prefetch_lines<Columns * Simd::width * sizeof(element)>(next_keys);
      Simd value[Columns];
#pragma GCC unroll 16
      for (int c = 0; c < Columns; ++c) {
        value[c] = elements::load(values + static_cast<std::size_t>(c) * Simd::width);
      }
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const Simd weight =
            Simd::broadcast(weights[static_cast<std::size_t>(r) * attention_row_stride + key]);
#pragma GCC unroll 16
        for (int c = 0; c < Columns; ++c) sums[r][c] = Simd::fma(weight, value[c], sums[r][c]);
      }
    }
  }
  store_sums(sums, output + channel);
}

/// The channels behind the last whole vector, one by one.
template <class Simd, kv_dtype Type>
void weigh_value_tail(const float* weights, const segment_tiles& tiles, std::size_t head_dim,
                      std::size_t first, std::size_t end, std::size_t rows, float* output) {
  using elements = kv_elements<Simd, Type>;
  using element = typename elements::element;
  for (std::size_t channel = head_dim / Simd::width * Simd::width; channel < head_dim; ++channel) {
    for (std::size_t r = 0; r < rows; ++r) {
      float sum = output[r * attention_row_stride + channel];
      for (std::size_t key = first; key < end; ++key) {
        const element* value =
            reinterpret_cast<const element*>(tiles.values[key / kv_tile_tokens]) +
            key % kv_tile_tokens * head_dim + channel;
        sum =
            __builtin_fmaf(weights[r * attention_row_stride + key], elements::load_one(value), sum);
      }
      output[r * attention_row_stride + channel] = sum;
    }
  }
}

/// Accumulators fill the registers: few rows take more columns, also to cover the latency of an
/// addition.
template <class Simd>
constexpr int columns_for(int rows) {
  if (Simd::width == 16) return rows > 6 ? 2 : 4;
  return rows > 3 ? 2 : 4;
}

/// Calls work.template operator()<Tiles>(tile) for steps of tiles that cover tile_count exactly.
template <class Simd, int Rows, int Columns = columns_for<Simd>(Rows), class Work>
inline __attribute__((always_inline)) void for_tile_steps(std::size_t tile_count,
                                                          const Work& work) {
  constexpr int step = Columns / (16 / static_cast<int>(Simd::width));
  std::size_t tile = 0;
  for (; tile + step <= tile_count; tile += step) work.template operator()<step>(tile);
  if constexpr (step > 1) {
    for (; tile < tile_count; ++tile) work.template operator()<1>(tile);
  }
}

/// Calls work.template operator()<Columns>(channel) for steps of vectors of channels: whole ones,
/// and a last one that end cuts short.
template <class Simd, int Rows, int Columns = columns_for<Simd>(Rows), class Work>
inline __attribute__((always_inline)) void for_channel_steps(std::size_t end, const Work& work) {
  constexpr int step = Columns;
  std::size_t channel = 0;
  for (; channel + step * Simd::width <= end; channel += step * Simd::width) {
    work.template operator()<step>(channel);
  }
  for (; channel < end; channel += Simd::width) work.template operator()<1>(channel);
}

/// Rows rows over all channels.
template <class Simd, kv_dtype Type, int Rows>
void weigh_rows(const float* weights, const segment_tiles& tiles, std::size_t head_dim,
                std::size_t first, std::size_t end, float* output) {
  const std::size_t whole = head_dim / Simd::width * Simd::width;
  for_channel_steps<Simd, Rows>(whole, [&]<int Columns>(std::size_t channel) {
    weigh_values<Simd, Type, Rows, Columns>(weights, tiles, head_dim, first, end, channel, output);
  });
  if (whole < head_dim) {
    weigh_value_tail<Simd, Type>(weights, tiles, head_dim, first, end, Rows, output);
  }
}

/// Calls work.template operator()<Rows>(row_first) for blocks of rows that cover row_count exactly.
template <class Simd, class Work>
void for_row_blocks(std::size_t row_count, const Work& work) {
  std::size_t row = 0;
  while (row < row_count) {
    const std::size_t left = row_count - row;
    const auto run = [&]<int Rows>(std::integral_constant<int, Rows>) {
      work.template operator()<Rows>(row);
      row += Rows;
    };
    if constexpr (Simd::width == 16) {
      if (left >= 12) {
        run(std::integral_constant<int, 12>{});
        continue;
      }
      if (left >= 8) {
        run(std::integral_constant<int, 8>{});
        continue;
      }
    }
    if (left >= 6) {
      run(std::integral_constant<int, 6>{});
    } else if (left >= 4) {
      run(std::integral_constant<int, 4>{});
    } else if (left == 3) {
      run(std::integral_constant<int, 3>{});
    } else if (left == 2) {
      run(std::integral_constant<int, 2>{});
    } else {
      run(std::integral_constant<int, 1>{});
    }
  }
}

}  // namespace troupe::kernels
