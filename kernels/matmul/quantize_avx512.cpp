// quantize for AVX-512 with VNNI: eight items at a time, which are groups of one row or rows of one
// group. Their horizontal maxima and sums share shuffles.
#include <cfloat>

#include "kernels/base/avx512_intrinsics.hpp"
#include "kernels/matmul/packed_layout.hpp"

namespace troupe::kernels {

namespace {

#define TROUPE_INLINE inline __attribute__((always_inline))
#define TROUPE_INLINE_LAMBDA __attribute__((always_inline))

constexpr int items = 8;
static_assert(items == part_rows);

struct item_values {
  __m512 first, second;
};

// Those of a group's values that there are; the others count as zeros.
using value_mask = std::uint32_t;
TROUPE_INLINE value_mask first_values(std::size_t count) {
  return static_cast<value_mask>((std::uint64_t{1} << (count < 32 ? count : 32)) - 1);
}

TROUPE_INLINE item_values load_item(const float* x, value_mask mask) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x),
          _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + 16)};
}

// As integers, so that a NaN is the largest magnitude of all.
TROUPE_INLINE __m512i magnitudes(const item_values& x) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  return _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(x.first), magnitude),
                          _mm512_and_si512(_mm512_castps_si512(x.second), magnitude));
}

// Lane i of the result is the largest of m[i].
TROUPE_INLINE __m256i largest_of_each(const __m512i (&m)[items]) {
  __m512i pairs[4], fours[2];
  for (int i = 0; i < 4; ++i) {
    pairs[i] = _mm512_max_epi32(_mm512_unpacklo_epi32(m[2 * i], m[2 * i + 1]),
                                _mm512_unpackhi_epi32(m[2 * i], m[2 * i + 1]));
  }
  for (int i = 0; i < 2; ++i) {
    fours[i] = _mm512_max_epi32(_mm512_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]),
                                _mm512_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
  }
  // 128-bit lanes: of items 0 .. 3, 0 .. 3, 4 .. 7, 4 .. 7.
  const __m512i halves = _mm512_max_epi32(_mm512_shuffle_i32x4(fours[0], fours[1], 0x88),
                                          _mm512_shuffle_i32x4(fours[0], fours[1], 0xDD));
  const __m512i all = _mm512_max_epi32(_mm512_shuffle_i32x4(halves, halves, 0x88),
                                       _mm512_shuffle_i32x4(halves, halves, 0xDD));
  return _mm512_castsi512_si256(all);
}

// The values of two items, 32 bytes each; zeros for what `usable` lacks.
TROUPE_INLINE __m512i round_two(const item_values& a, float a_factor, const item_values& b,
                                float b_factor, __mmask16 usable) {
  const auto rounded = [](__m512 x, float factor) TROUPE_INLINE_LAMBDA {
    return _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(factor)));
  };
  const __m512i words_a =
      _mm512_packs_epi32(rounded(a.first, a_factor), rounded(a.second, a_factor));
  const __m512i words_b =
      _mm512_packs_epi32(rounded(b.first, b_factor), rounded(b.second, b_factor));
  // The packs work within 128-bit lanes; the permutation restores the order of the quads.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_maskz_permutexvar_epi32(usable, order, _mm512_packs_epi16(words_a, words_b));
}

struct item_sums {
  __m256i first, second;  // of each item's first and last 16 values
};

TROUPE_INLINE item_sums sum_halves(const __m512i (&q)[items / 2]) {
  __m512i quads[4], pairs[2];
  for (int i = 0; i < 4; ++i)
    quads[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), q[i]);
  for (int i = 0; i < 2; ++i) {
    pairs[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(quads[2 * i], quads[2 * i + 1]),
                                _mm512_unpackhi_epi32(quads[2 * i], quads[2 * i + 1]));
  }
  // 128-bit lanes: first halves of items 0, 2, 4, 6; their second; the same of 1, 3, 5, 7.
  const __m512i sums = _mm512_add_epi32(_mm512_unpacklo_epi64(pairs[0], pairs[1]),
                                        _mm512_unpackhi_epi64(pairs[0], pairs[1]));
  const __m512i order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  const __m512i sorted = _mm512_permutexvar_epi32(order, sums);
  return {_mm512_castsi512_si256(sorted), _mm512_extracti64x4_epi64(sorted, 1)};
}

// Of some items: what is multiplied with their values, where that makes numbers, and a step of the
// result.
struct item_scales {
  alignas(32) float factor[items];
  __m256 scale;
  __mmask16 usable[items / 2];  // of two items each, their 16 quads
};

struct quantized_items {
  __m512i values[items / 2], offset_sums[items / 2];  // two items each
  __m256 scale, scaled_sum;
  __m256i minus_sum, minus_first_sum;
};

// Of two items each, for each f: -128 * sum + (f * sum + 4 >> 3) = ((f - 1024) * sum + 4) >> 3.
TROUPE_INLINE void make_offset_sums(__m256i sums, __m512i (&made)[items / 2]) {
  constexpr int half = 1 << (fraction_shift - 1);
  const __m256i beside_one = _mm256_or_si256(_mm256_and_si256(sums, _mm256_set1_epi32(0xFFFF)),
                                             _mm256_set1_epi32(1 << 16));
  const __m512i f = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
  const __m512i factors = _mm512_or_si512(
      _mm512_and_si512(
          _mm512_sub_epi32(f, _mm512_set1_epi32(1 << (zero_point_offset_shift + fraction_shift))),
          _mm512_set1_epi32(0xFFFF)),
      _mm512_set1_epi32(half << 16));
  for (int i = 0; i < items / 2; ++i) {
    const int a = 2 * i, b = 2 * i + 1;
    const __m512i two =
        _mm512_permutexvar_epi32(_mm512_setr_epi32(a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b),
                                 _mm512_castsi256_si512(beside_one));
    made[i] = _mm512_srai_epi32(_mm512_madd_epi16(two, factors), fraction_shift);
  }
}

// load(i): the values of item i.
template <class Load>
TROUPE_INLINE void scale_items(const Load& load, item_scales& made) {
  __m512i magnitude[items];
  for (int i = 0; i < items; ++i) magnitude[i] = magnitudes(load(i));
  const __m256 max = _mm256_castsi256_ps(largest_of_each(magnitude));
  const __m256 limit = _mm256_set1_ps(127.0f);
  const __m256 inverse = _mm256_div_ps(limit, max);
  _mm256_store_ps(made.factor, inverse);
  made.scale = _mm256_div_ps(max, limit);
  // Not by comparisons into mask registers: what waits for those holds up the loop.
  const __m256i usable = _mm256_castps_si256(
      _mm256_and_ps(_mm256_cmp_ps(inverse, _mm256_setzero_ps(), _CMP_GT_OQ),
                    _mm256_cmp_ps(inverse, _mm256_set1_ps(FLT_MAX), _CMP_LE_OQ)));
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(usable), _mm256_extracti128_si256(usable, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(made.usable), _mm_packs_epi16(words, words));
}

template <class Load>
TROUPE_INLINE quantized_items quantize_items(const Load& load, const item_scales& scales) {
  quantized_items made;
  for (int i = 0; i < items; i += 2) {
    made.values[i / 2] = round_two(load(i), scales.factor[i], load(i + 1), scales.factor[i + 1],
                                   scales.usable[i / 2]);
  }
  const item_sums sums = sum_halves(made.values);
  const __m256i total = _mm256_add_epi32(sums.first, sums.second);
  made.scale = scales.scale;
  made.scaled_sum = _mm256_mul_ps(made.scale, _mm256_cvtepi32_ps(total));
  made.minus_sum = _mm256_sub_epi32(_mm256_setzero_si256(), total);
  made.minus_first_sum = _mm256_sub_epi32(_mm256_setzero_si256(), sums.first);
  make_offset_sums(total, made.offset_sums);
  return made;
}

// 32 bytes of each of `count` items, one after another.
TROUPE_INLINE void store_in_turn(void* to, const __m512i (&two)[items / 2], std::size_t count) {
  auto* at = static_cast<std::byte*>(to);
  for (std::size_t i = 0; i < items / 2; ++i, at += 64) {
    if (2 * i + 2 <= count) {
      _mm512_storeu_si512(at, two[i]);
    } else if (2 * i < count) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), _mm512_castsi512_si256(two[i]));
    }
  }
}

// count rows of a group, from one of a part on.
TROUPE_INLINE void store_rows(const quantized_items& made, activation_group& group,
                              std::size_t row_in_tile, std::size_t count) {
  store_in_turn(group.values[row_in_tile], made.values, count);
  store_in_turn(group.offset_sums[row_in_tile], made.offset_sums, count);
  activation_part& rows = group.part[row_in_tile / part_rows];
  const std::size_t r = row_in_tile % part_rows;
  if (count == part_rows) {
    _mm256_store_ps(rows.scale, made.scale);
    _mm256_store_ps(rows.scaled_sum, made.scaled_sum);
    _mm256_store_si256(reinterpret_cast<__m256i*>(rows.minus_sum), made.minus_sum);
    _mm256_store_si256(reinterpret_cast<__m256i*>(rows.minus_first_sum), made.minus_first_sum);
    return;
  }
  const auto mask = static_cast<__mmask8>((1u << count) - 1);
  _mm256_mask_storeu_ps(rows.scale + r, mask, made.scale);
  _mm256_mask_storeu_ps(rows.scaled_sum + r, mask, made.scaled_sum);
  _mm256_mask_storeu_epi32(rows.minus_sum + r, mask, made.minus_sum);
  _mm256_mask_storeu_epi32(rows.minus_first_sum + r, mask, made.minus_first_sum);
}

// A row of count groups.
void store_groups(const quantized_items& made, activation_group* groups, std::size_t row_in_tile,
                  std::size_t count) {
  activation_group as_rows;
  store_rows(made, as_rows, 0, items);
  const activation_part& each = as_rows.part[0];
  const std::size_t r = row_in_tile % part_rows;
  for (std::size_t i = 0; i < count; ++i) {
    activation_group& group = groups[i];
    activation_part& rows = group.part[row_in_tile / part_rows];
    __builtin_memcpy(group.values[row_in_tile], as_rows.values[i], sizeof group.values[0]);
    __builtin_memcpy(group.offset_sums[row_in_tile], as_rows.offset_sums[i],
                     sizeof group.offset_sums[0]);
    rows.scale[r] = each.scale[i];
    rows.scaled_sum[r] = each.scaled_sum[i];
    rows.minus_sum[r] = each.minus_sum[i];
    rows.minus_first_sum[r] = each.minus_first_sum[i];
  }
}

// Scales are made for this many times eight items first: a chain of all steps is so long that few
// items would be under way at once.
constexpr std::size_t scaled_together = 16;

// load_of(step): the load of its items; store(step, what they became).
template <class LoadOf, class Store>
TROUPE_INLINE void quantize_steps(std::size_t step_count, const LoadOf& load_of,
                                  const Store& store) {
  item_scales scales[scaled_together];
  for (std::size_t base = 0; base < step_count; base += scaled_together) {
    const std::size_t left = step_count - base;
    const std::size_t count = left < scaled_together ? left : scaled_together;
    for (std::size_t i = 0; i < count; ++i) scale_items(load_of(base + i), scales[i]);
    for (std::size_t i = 0; i < count; ++i)
      store(base + i, quantize_items(load_of(base + i), scales[i]));
  }
}

void quantize_rows_together(const float_block& x, const row_target& target) {
  const float* rows[items];
  for (std::size_t i = 0; i < items; ++i) rows[i] = x.row(i < x.row_count ? i : 0);
  const auto load_of = [&](std::size_t group) TROUPE_INLINE_LAMBDA {
    const std::size_t at = group * 32;
    return [&rows, at, mask = first_values(x.column_count - at)](int i)
               TROUPE_INLINE_LAMBDA { return load_item(rows[i] + at, mask); };
  };
  quantize_steps((x.column_count + 31) / 32, load_of,
                 [&](std::size_t group, const quantized_items& made) TROUPE_INLINE_LAMBDA {
                   store_rows(made, target.groups[group], target.row_in_tile, x.row_count);
                 });
}

void quantize_one_row(const float* x, std::size_t column_count, const row_target& target) {
  const std::size_t group_count = (column_count + 31) / 32;
  const auto load_of = [&](std::size_t step) TROUPE_INLINE_LAMBDA {
    return [x, column_count, group_count, base = step * items](int i) TROUPE_INLINE_LAMBDA {
      const std::size_t group = base + static_cast<std::size_t>(i);
      const std::size_t at = (group < group_count ? group : base) * 32;
      return load_item(x + at, first_values(column_count - at));
    };
  };
  quantize_steps((group_count + items - 1) / items, load_of,
                 [&](std::size_t step, const quantized_items& made) TROUPE_INLINE_LAMBDA {
                   const std::size_t base = step * items;
                   const std::size_t left = group_count - base;
                   store_groups(made, target.groups + base, target.row_in_tile,
                                left < items ? left : items);
                 });
}

}  // namespace

void quantize_avx512(const float_block& x, const row_target& target) {
  const std::size_t group_count = (x.column_count + 31) / 32;
  if (group_count <= x.row_count * ((group_count + items - 1) / items))
    return quantize_rows_together(x, target);
  quantize_row_by_row<quantize_one_row>(x, target);
}

}  // namespace troupe::kernels
