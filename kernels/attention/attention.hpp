// Paged grouped-query attention, and the KV cache layout that it reads.
//
// Cache layout, one layer: for each physical block, for each KV head, K as tiles of 16 tokens
// stored transposed ([tile][head_dim][16 tokens]: SIMD lanes are keys) and V as [token][head_dim]
// (lanes are channels). A bf16 cache holds pairs instead: K as [tile][head_dim / 2][16 tokens][2
// d], V as [tile][8 token pairs][head_dim][2 tokens]. An int8 cache holds quads, whose four bytes
// stand in the order 0, 2, 1, 3: K as [tile][head_dim / 4][16 tokens][4 d], V as [tile][4 token
// quads][head_dim][4 tokens], each tile followed by 16 float scales: a token's element is byte *
// scale. Positions that were never written, or that a reused block still holds from another
// sequence, are never part of a result: a loop over V ends at the query's position (or weighs what
// follows with zero, in integers or where it is known to be finite), and the scores of such keys
// are replaced before use.
//
// Numerics (batch invariance; every variant gives the same bits as the reference):
//  - score[k] = sum over d ascending of fma(q[d], K[d][k]), one accumulator per (query, key).
//  - Keys are taken in segments of 256 at absolute positions. Per segment: m = max of scores; p =
//  the weight of score - m, e^(scale * (score - m)) as soft_weight.hpp computes it;
//    l = 16 lane sums (lane = key mod 16, ascending) folded by a fixed tree; o[d] = sum over keys
//    ascending of fma(p[k], V[k][d]).
//  - Segments merge in ascending order: with M = max(m1, m2) and w the weights of m1 - M and m2 -
//  M, o = fma(o2, w2, o1 * w1), l alike; the result is o * (1 / l). A query sees exactly the keys
//  at positions <= its own.
//  - A bf16 cache multiplies in bf16, as vdpbf16ps does: q and p are rounded to bf16 (l sums p as
//  it was), and a sum
//    takes pairs of d or keys in ascending order, of each pair the second product first; a second
//    key that is not visible counts as zero; denormal inputs and results of these steps are zero.
//    Under isa::amx and isa::bf16_reference, where head_dim is a multiple of 32, a sum takes 32
//    products at a time as tdpbf16ps does: from zero, the even ones in ascending order, the odd
//    ones likewise, then the sum of both is added; keys that are not visible weigh zero, and a
//    denormal q is zero before it is rounded.
//  - A zero result is +0.
//  - An int8 cache quantizes each row of K and V (head_dim floats x of one token and head): scale =
//  max|x| / 127, bytes round x * (127 / max|x|) to nearest even. A row whose max|x| is zero, too
//  small for a finite inverse, or not finite gets zeros, and its scale carries a NaN or infinity
//  on. A query row becomes 16-bit integers in the same way, with 32767 for 127. score[k] =
//  float(exact 32-bit sum of products) * (k_scale[k] * q_scale). After a segment's
//  softmax, w[k] = p[k] * v_scale[k] becomes 16-bit integers too, with one scale for each row and
//  segment; o[d] = float(exact 32-bit sum) * w_scale. l sums p as it was. (256 products of 32767 *
//  127 fit 32 bits.)
//  - Against exact attention over the rounded K and V: a score is off by at most (head_dim + 2) u
//  s, where u = 2^-24 and
//    s = scale * sum |q K|; so a weight by a factor of 1 + 2 (head_dim + 2) u s + (4 + 2 |log2 p|)
//    u, and an output by (2 (head_dim + 2) s + 300 + 8 * segments + 2 log2(keys)) u * max |V|. 300
//    is the longest sum (256 products) and its rounding; weighed by themselves, the |log2 p| come
//    to log2(keys) at most. In bf16, with q rounded first, 2^-9 max |V| more: p is off by 2^-9 of
//    itself where it multiplies V. In int8 a score is off by e = scale * max|q| / 65534
//    * sum |K| more (q is off by half a step), and an output by (2 e + 2^-8) max |V|: each of a
//    segment's 256 w by half a step, max w / 65534, times at most 127. The errors of w have both
//    signs and mostly cancel; rounding K and V itself, by up to half a step of max|x| / 127 for
//    each element, costs more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/cpu_features.hpp"
#include "kernels/base/epilogue.hpp"
#include "kernels/base/index_types.hpp"
#include "kernels/base/thread_pool.hpp"

namespace troupe::kernels {

/// Part of what names stored blocks: a value never gets another meaning.
enum class kv_dtype : std::uint8_t { f32, f16, bf16, int8 };

inline constexpr std::size_t kv_tile_tokens = 16;  ///< block_size is a multiple of this
inline constexpr std::size_t attention_segment_tokens =
    256;  ///< fixed for ever: part of the numerics

inline constexpr std::size_t attention_head_dim_max = 256;
/// head_dim is a multiple of this.
constexpr std::size_t head_dim_step(kv_dtype type) {
  return type == kv_dtype::int8 ? 4 : 2;
}

struct kv_layout {
  kv_dtype type = kv_dtype::f16;
  std::size_t kv_head_count = 0;
  std::size_t head_dim = 0;
  std::size_t block_tokens = 16;  ///< divides attention_segment_tokens, multiple of kv_tile_tokens
  /// K or V of one tile and one head: the elements, and behind those of int8 a float scale for each
  /// token.
  [[nodiscard]] std::size_t tile_bytes() const {
    if (type == kv_dtype::int8) return kv_tile_tokens * (head_dim + sizeof(float));
    return kv_tile_tokens * head_dim * (type == kv_dtype::f32 ? 4 : 2);
  }
  /// K or V of one block and one head.
  [[nodiscard]] std::size_t head_block_bytes() const {
    return block_tokens / kv_tile_tokens * tile_bytes();
  }
  /// One block of one layer: for each head, K then V.
  [[nodiscard]] std::size_t block_bytes() const { return 2 * kv_head_count * head_block_bytes(); }
};

/// One layer's part of the cache: block_count * layout.block_bytes() bytes, zero-filled at start.
struct kv_layer {
  std::byte* data = nullptr;
  std::size_t block_count = 0;
};

/// Rows of one sequence in the flat batch: consecutive positions.
struct attention_slice {
  std::size_t row_first = 0;  ///< in the flat batch
  std::size_t row_count = 0;
  std::size_t position_first = 0;            ///< absolute position of the first row
  std::span<const block_index> block_table;  ///< covers position_first + row_count positions
};

/// Whether so few query rows read each key that attention of the slice waits for memory.
/// heads_per_kv_head: query heads that share a KV head.
bool waits_for_memory(const attention_slice& slice, std::size_t heads_per_kv_head) noexcept;

/// Rounds K and V rows ([row][kv_head][head_dim] floats, k already rotated) to the cache dtype and
/// stores them at their positions.
void write_kv(isa set, const kv_layout& layout, kv_layer layer,
              std::span<const attention_slice> slices, const float* k, const float* v,
              std::size_t row_stride, thread_pool& pool);

/// One KV head of one row at an absolute position, for callers that fuse it with what made k and v
/// (head_dim floats each; either may be nullptr: then the other alone is written).
void write_kv_head(isa set, const kv_layout& layout, kv_layer layer,
                   std::span<const block_index> block_table, std::size_t position, std::size_t head,
                   const float* k, const float* v);

/// A rectangle of outputs that a thread has just made: whole heads.
struct attended_range {
  std::size_t row_first = 0, row_count = 0;        ///< in the flat batch
  std::size_t column_first = 0, column_count = 0;  ///< head_dim columns a head
};

/// What follows on outputs while they are in the cache of the thread that made them: every output
/// is handed over once, when it is final. Ranges of different threads may lie in the same rows.
using attention_epilogue = epilogue<attended_range>;

struct attention_arguments {
  const float* query =
      nullptr;  ///< [row][head][head_dim], rotated; head h reads KV head h / (heads / kv_heads)
  std::size_t query_stride = 0;   ///< elements between rows
  float* output = nullptr;        ///< [row][head][head_dim]; may be the queries, with their stride
  std::size_t output_stride = 0;  ///< at least head_count * head_dim
  std::size_t head_count = 0;
  float scale = 0.0f;  ///< usually 1 / sqrt(head_dim); above zero, and so is its inverse
  attention_epilogue epilogue = {};
};

/// Attention of every row over its own sequence's cached keys, its own included (write_kv comes
/// first). head_dim is even (of int8 a multiple of 4) and at most 256; heads are a multiple of KV
/// heads. Work is split over (slice, positions, heads of a KV head) and, where that gives too few
/// tasks for the threads, over segments too, whose partial results a second region merges in
/// ascending order: the same bits.
void paged_attention(isa set, const kv_layout& layout, kv_layer layer,
                     std::span<const attention_slice> slices, const attention_arguments& arguments,
                     thread_pool& pool);

}  // namespace troupe::kernels
