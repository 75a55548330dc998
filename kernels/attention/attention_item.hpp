// What the variants of attention implement: one work item, in plain numbers that the dispatch in
// attention.cpp has prepared. Nothing here has inline functions, because every variant includes it.
#pragma once

#include <cstddef>

#include "kernels/attention/attention.hpp"

namespace troupe::kernels::detail {

/// Tiles of 16 keys in a segment.
inline constexpr std::size_t attention_segment_tiles = attention_segment_tokens / kv_tile_tokens;
/// Query rows (positions x heads of one group) of an item. 12 x 2 accumulators, two K or V vectors
/// and one broadcast fit the 32 registers of AVX-512; 6 x 2 fit the 16 of AVX2.
inline constexpr std::size_t attention_rows_max_avx512 = 12;
inline constexpr std::size_t attention_rows_max_avx2 = 6;
/// Six tiles of 16 rows share a copy of V, of either cache.
inline constexpr std::size_t attention_rows_max_amx = 96;
/// Largest integers of an int8 cache's K and V, and of what multiplies them.
inline constexpr float kv_byte_max = 127.0f;
inline constexpr float attention_word_max = 32767.0f;
/// Where the elements of a quad stand in its four bytes: the low bytes of its two 16-bit halves are
/// neighbours, and the high bytes, so that two shifts make pairs of words of them.
inline constexpr std::size_t kv_quad_places[4] = {0, 2, 1, 3};

/// The K and V of one KV head of one layer, as one sequence sees them.
struct attention_cache {
  const std::byte* data = nullptr;  ///< the head's K in block 0
  std::size_t block_bytes = 0;      ///< from a block to the next
  std::size_t values_offset = 0;    ///< bytes from a block's K to its V
  std::size_t block_tokens = 0;
  std::size_t tile_bytes = 0;  ///< K or V of 16 tokens
  kv_dtype type = kv_dtype::f16;
  const block_index* table = nullptr;
};

/// What takes differences of scores to weights (soft_weight.hpp).
struct soft_scale {
  float exponent_factor = 0.0f;  ///< scale * log2(e)
  float difference_min = 0.0f;   ///< -125 / exponent_factor: below it a weight is zero
};

/// Row r is position position_first + r / head_count, head r % head_count. All the positions lie in
/// one segment, so that every row has at least one key in every segment of the item.
struct attention_item {
  void (*run)(const attention_item&) = nullptr;  ///< one of the functions below
  attention_cache cache;
  std::size_t head_dim = 0;
  std::size_t head_count = 0;
  std::size_t position_first = 0;
  std::size_t position_count = 0;
  std::size_t segment_first = 0;
  std::size_t segment_end = 0;   ///< exclusive
  const float* query = nullptr;  ///< of row 0; heads follow each other at head_dim
  std::size_t query_stride = 0;  ///< elements between positions
  soft_scale soft;
  float* output = nullptr;  ///< of row 0; nullptr where partials are wanted
  std::size_t output_stride = 0;
  /// For each segment of the item: row_count maxima, row_count sums, then row_count x head_dim
  /// weighted sums of V. Read by attention_merge; nullptr where the item covers all of its rows'
  /// segments.
  float* partials = nullptr;
  /// What this thread will probably run next, so that its K can be on the way; nullptr: unknown.
  const attention_item* next = nullptr;
};

void attention_item_ref(const attention_item& item);
/// For a bf16 cache: what tiles compute.
void attention_item_pairs_ref(const attention_item& item);
void attention_item_avx2(const attention_item& item);
void attention_item_avx512(const attention_item& item);
/// For a bf16 cache, on a machine with vdpbf16ps: the bits of attention_item_ref.
void attention_item_avx512bf16(const attention_item& item);
/// For an int8 cache whose head_dim is a multiple of this, on a machine with AMX_INT8: the same
/// bits.
inline constexpr std::size_t attention_head_dim_step_amx_bytes = 64;
void attention_item_amx_bytes(const attention_item& item);
/// For a bf16 cache whose head_dim is a multiple of this, on a machine with AMX_BF16: the bits of
/// attention_item_pairs_ref.
inline constexpr std::size_t attention_head_dim_step_amx_pairs = 32;
void attention_item_amx_pairs(const attention_item& item);
/// The same bits, of few rows in less time.
void attention_item_amx_few_pairs(const attention_item& item);

/// Folds the partials of segments segment_first .. segment_end - 1 in ascending order into the
/// output. Reads the item's shape, partials (of segment_first) and output; the same bits as one
/// item over all segments.
void attention_merge_ref(const attention_item& item);
void attention_merge_avx2(const attention_item& item);
void attention_merge_avx512(const attention_item& item);

/// Where one row's K and V go: its tiles, and its place in them.
struct kv_row_target {
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  std::size_t token = 0;  ///< in the tile
  std::size_t head_dim = 0;
  kv_dtype type = kv_dtype::f16;
};

/// k or v may be nullptr: then the other alone is written.
void write_kv_head_ref(const kv_row_target& target, const float* k, const float* v);
void write_kv_head_avx2(const kv_row_target& target, const float* k, const float* v);
void write_kv_head_avx512(const kv_row_target& target, const float* k, const float* v);

}  // namespace troupe::kernels::detail
