// Stores one token's K and V of one head in the tile layouts of attention.hpp, rounded or
// quantized: this token's bytes and no others. Simd is one of kernels/base/simd_*.hpp; for
// *_avx2.cpp and *_avx512.cpp only.
#pragma once

#include <cstring>

#include "kernels/attention/attention_bytes.hpp"

namespace troupe::kernels {

template <class Simd, kv_dtype Type>
void write_elements(const detail::kv_row_target& target, const float* k, const float* v) {
  using elements = kv_elements<Simd, Type>;
  using element = typename elements::element;
  constexpr std::size_t pair =
      Type == kv_dtype::bf16 ? 2 : 1;  // neighbours along d, or along tokens
  element rounded[attention_head_dim_max + 16];
  const auto round = [&](const float* from) {
    std::size_t d = 0;
    for (; d + Simd::width <= target.head_dim; d += Simd::width) {
      elements::store(Simd::load(from + d), rounded + d);
    }
    if (d < target.head_dim) {
      elements::store(Simd::load_first(from + d, target.head_dim - d), rounded + d);
    }
  };
  if (k != nullptr) {
    round(k);
    auto* keys = reinterpret_cast<element*>(target.keys) + target.token * pair;
    for (std::size_t d = 0; d < target.head_dim; d += pair) {
      std::memcpy(keys + d * kv_tile_tokens, rounded + d, pair * sizeof(element));
    }
  }
  if (v != nullptr) {
    auto* const values =
        reinterpret_cast<element*>(target.values) + target.token / pair * pair * target.head_dim;
    std::size_t d = 0;
    if constexpr (Type == kv_dtype::bf16 && Simd::width == 16) {
      for (; d + Simd::width <= target.head_dim; d += Simd::width)
        Simd::load(v + d).store_bf16_in_pairs(values + d * pair, target.token % pair);
      if (d == target.head_dim) return;
    }
    round(v);
    for (; d < target.head_dim; ++d) values[d * pair + target.token % pair] = rounded[d];
  }
}

/// One token's K or V: byte i of the row goes to place(i); the scale behind the tile.
template <class Simd, class Place>
void write_row_bytes(const float* from, const detail::kv_row_target& target, std::byte* tile,
                     const Place& place) {
  std::uint16_t words[attention_head_dim_max + 16];
  const float scale = quantize_words<Simd>(from, target.head_dim, detail::kv_byte_max, words);
  for (std::size_t d = 0; d < target.head_dim; ++d)
    tile[place(d)] = static_cast<std::byte>(words[d]);
  std::memcpy(tile + kv_tile_tokens * target.head_dim + target.token * sizeof scale, &scale,
              sizeof scale);
}

template <class Simd>
void write_bytes(const detail::kv_row_target& target, const float* k, const float* v) {
  using detail::kv_quad_places;
  if (k != nullptr) {
    write_row_bytes<Simd>(k, target, target.keys, [&](std::size_t d) {
      return (d / 4 * kv_tile_tokens + target.token) * 4 + kv_quad_places[d % 4];
    });
  }
  if (v != nullptr) {
    const std::size_t first =
        target.token / 4 * 4 * target.head_dim + kv_quad_places[target.token % 4];
    write_row_bytes<Simd>(v, target, target.values, [&](std::size_t d) { return first + 4 * d; });
  }
}

template <class Simd>
void write_kv_head_vector(const detail::kv_row_target& target, const float* k, const float* v) {
  with_kv_type<Simd>(target.type, [&]<kv_dtype Type> {
    if constexpr (Type == kv_dtype::int8) {
      write_bytes<Simd>(target, k, v);
    } else {
      write_elements<Simd, Type>(target, k, v);
    }
  });
}

}  // namespace troupe::kernels
