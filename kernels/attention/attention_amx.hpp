// One item of attention on AMX's tile registers: segments in ascending order, and of each some
// query rows at a time through scores, softmax and weighted values. What the products are made of,
// and how, is the derived class's (attention_bytes_amx.cpp, attention_pairs_amx.cpp). For *_amx.cpp
// only, behind simd_avx512.hpp.
#pragma once

#include "kernels/attention/attention_segments.hpp"
#include "kernels/attention/attention_tiles.hpp"
#include "kernels/base/tile_registers_amx.hpp"

namespace troupe::kernels {

namespace {

using simd = simd_avx512;

constexpr std::size_t tile_rows = 16;
constexpr std::size_t tile_columns = 16;
constexpr std::size_t tile_row_bytes = 64;
constexpr std::size_t rows_max = detail::attention_rows_max_amx;
static_assert(rows_max % tile_rows == 0);

/// RowsTogether are one or two tiles of rows: what two tiles multiply they load once. Derived has
///   tile_shapes shapes(): of the registers,
///   void pack_query(): queries_ as left factors,
///   void load_segment(segment): finds its tiles, from keys_ on, and makes its V a right factor,
///   void score(row, count, tile_count): scores_ as soften takes them, and segment_maximum_ over
///     the keys that each sees, of `count` rows from `row` on, up to RowsTogether,
///   void soften(count, tile_count): the weights as left factors, and segment_sum_,
///   void weigh(count, tile_count, output): their products with V, rows head_dim apart.
template <class Derived, std::size_t RowsTogether>
class tile_attention {
  static_assert(RowsTogether == tile_rows || RowsTogether == 2 * tile_rows);

 public:
  explicit tile_attention(const detail::attention_item& item)
      : item_(item), row_count_(item.position_count * item.head_count) {
    std::size_t row = 0;
    for (std::size_t position = 0; position < item.position_count; ++position) {
      const float* from = item.query + position * item.query_stride;
      for (std::size_t head = 0; head < item.head_count; ++head, ++row, from += item.head_dim) {
        positions_[row] = position;
        queries_[row] = from;
      }
    }
  }

  void run() {
    Derived& self = static_cast<Derived&>(*this);
    const tile_shapes shapes = self.shapes();
    const tile_registers registers(shapes);
    self.pack_query();
    for (std::size_t segment = item_.segment_first; segment < item_.segment_end; ++segment) {
      self.load_segment(segment);
      for (std::size_t row = 0; row < row_count_; row += RowsTogether) run_rows(segment, row);
    }
    if (item_.partials != nullptr) return;
    finish_rows<simd>(state_of(0), item_, 0, row_count_);
  }

 protected:
  /// How many of a tile's keys row r of the rows at hand sees.
  [[nodiscard]] std::size_t keys_left(std::size_t r, std::size_t tile) const {
    const std::size_t key = tile * kv_tile_tokens;
    if (key_counts_[r] <= key) return 0;
    const std::size_t left = key_counts_[r] - key;
    return left < kv_tile_tokens ? left : kv_tile_tokens;
  }

  const detail::attention_item& item_;
  const std::size_t row_count_;
  const float* queries_[rows_max];
  // Of one segment; behind the last tile there is room for one more.
  const std::byte* keys_[detail::attention_segment_tiles + 1];
  // Of the rows at hand and one segment.
  std::size_t key_counts_[RowsTogether];
  alignas(64) float scores_[RowsTogether][attention_row_stride];
  alignas(64) float segment_maximum_[RowsTogether];
  alignas(64) float segment_sum_[RowsTogether];

 private:
  row_results state_of(std::size_t row) {
    return {maximum_ + row, sum_ + row, output_ + row * item_.head_dim, item_.head_dim};
  }
  row_results segment_rows() {
    return {segment_maximum_, segment_sum_, segment_output_, item_.head_dim};
  }

  /// Rows row .. row + RowsTogether - 1 of one segment, a pass over all of them at a time: what a
  /// row waits for is hidden behind the others.
  void run_rows(std::size_t segment, std::size_t row) {
    Derived& self = static_cast<Derived&>(*this);
    const std::size_t count = row_count_ - row < RowsTogether ? row_count_ - row : RowsTogether;
    const std::size_t tile_count = visible_tiles<simd>(item_, positions_[row + count - 1], segment);
    for (std::size_t r = 0; r < count; ++r) {
      key_counts_[r] =
          visible_keys<simd>(item_, positions_[row + r], segment * attention_segment_tokens);
    }
    self.score(row, count, tile_count);
    self.soften(count, tile_count);
    const bool is_first = segment == item_.segment_first;
    const bool is_state = is_first && item_.partials == nullptr;
    self.weigh(count, tile_count, is_state ? state_of(row).output : segment_output_);
    if (item_.partials != nullptr) {
      copy_rows<simd>(segment_rows(), 0, partials_of<simd>(item_, segment), row, count,
                      item_.head_dim);
    } else if (is_first) {
      for (std::size_t r = 0; r < count; r += simd::width) {
        simd::load(segment_maximum_ + r).store(maximum_ + row + r);
        simd::load(segment_sum_ + r).store(sum_ + row + r);
      }
    } else {
      merge_rows<simd>(state_of(row), segment_rows(), item_, count);
    }
  }

  std::size_t positions_[rows_max];  // of the rows in the item
  // Of outputs, rows are head_dim apart.
  alignas(64) float segment_output_[RowsTogether * attention_head_dim_max];
  alignas(64) float maximum_[rows_max];
  alignas(64) float sum_[rows_max];
  alignas(64) float output_[rows_max * attention_head_dim_max];
};

}  // namespace

}  // namespace troupe::kernels
