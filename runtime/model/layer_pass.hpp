// All layers over some rows of a step, from the embedding to the residual stream that the head
// reads: a whole step's rows on all threads, or a part of them on one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "kernels/attention/attention.hpp"
#include "kernels/base/aligned_buffer.hpp"
#include "kernels/base/thread_pool.hpp"
#include "kernels/matmul/matmul.hpp"
#include "runtime/model/forward_slice.hpp"
#include "runtime/model/kv_cache.hpp"
#include "runtime/model/model_description.hpp"
#include "runtime/model/weights.hpp"

namespace troupe {

/// Rows of activations as the linear layers that read them want them.
struct activations {
  aligned_buffer<float> floats;
  kernels::quantized_rows quantized;
  std::size_t width = 0;
  bool wants_floats = false;
  bool wants_quantized = false;

  void add_reader(const kernels::packed_matrix& weight) {
    (weight.wants_quantized() ? wants_quantized : wants_floats) = true;
  }
  void resize(isa set, std::size_t row_count) {
    if (wants_floats) floats.reserve_discarding(row_count * width);
    if (wants_quantized) quantized.resize(set, row_count, width);
  }
  float* row(std::size_t index) { return floats.data() + index * width; }
  /// Takes rows row_first .. and columns column_first .. from elsewhere. The columns begin with a
  /// group, and end with one or with the row.
  void put(isa set, std::size_t row_first, std::size_t column_first,
           const kernels::float_block& from) {
    if (wants_floats) {
      for (std::size_t i = 0; i < from.row_count; ++i)
        std::copy_n(from.row(i), from.column_count, row(row_first + i) + column_first);
    }
    if (wants_quantized) kernels::quantize_block(set, from, row_first, column_first, quantized);
  }
  /// Quantizes some of its floats, as put() does with others.
  void quantize(isa set, std::size_t row_first, std::size_t row_count, std::size_t column_first,
                std::size_t column_count) {
    kernels::quantize_block(set,
                            {.first = row(row_first) + column_first,
                             .stride = width,
                             .row_count = row_count,
                             .column_count = column_count},
                            row_first, column_first, quantized);
  }
};

class layer_pass {
 public:
  /// As forward_pass; everything handed in must outlive it.
  layer_pass(const model_description& description, const model_weights& weights, kv_cache& cache,
             thread_pool& pool, isa set);
  /// The same model and cache on another pool.
  layer_pass(const layer_pass& like, thread_pool& pool)
      : layer_pass(like.model_, like.weights_, like.cache_, pool, like.set_) {}

  /// Runs all layers over the slices' rows. before_attention(layer) is called when the rows' K and
  /// V of that layer are in the cache, and before any are read. Nothing of the slices is referred
  /// to afterwards.
  void run(std::span<const forward_slice> step,
           const std::function<void(std::size_t)>& before_attention);

  /// Rows of the last run whose logits are wanted.
  [[nodiscard]] std::size_t wanted_count() const { return wanted_.size(); }
  /// The residual stream of those rows behind the last layer, [row][hidden_size].
  [[nodiscard]] const float* wanted_hidden() const { return hidden_.data(); }

  /// Norm and head: [row][vocab_size] of row_count rows of a residual stream.
  void make_logits(const float* hidden, std::size_t row_count, float* logits);

 private:
  /// A row's place in its sequence.
  struct row_place {
    const forward_slice* slice = nullptr;
    std::size_t position = 0;
  };

  void place_rows(std::span<const forward_slice> step);
  void list_waited_blocks();
  void read_ahead(kernels::kv_layer kv, std::size_t row_count);
  void make_room(std::size_t row_count);
  template <class Body>
  void for_parts(std::size_t row_count, const Body& body);
  void embed(std::size_t row_count);
  void norm_rows(const float* rows, std::size_t row_count, std::span<const float> weight);
  void turn_heads(float* heads, std::size_t count, std::size_t row,
                  const aligned_buffer<float>& norm);
  void make_qkv(const layer_weights& layer, kernels::kv_layer kv, std::size_t row_count);
  [[nodiscard]] bool attention_quantizes(bool is_last) const;
  void quantize_attended(std::size_t row_count);
  void attend(kernels::kv_layer kv, bool is_last);
  void keep_wanted_rows();
  void add_to_hidden(const kernels::packed_matrix& weight, const activations& input,
                     std::size_t row_count);
  void finish_layer(const layer_weights& layer, std::size_t row_count);
  void make_gated(const layer_weights& layer, std::size_t row_count);

  const model_description& model_;
  const model_weights& weights_;
  kv_cache& cache_;
  thread_pool& pool_;
  isa set_;
  std::size_t query_width_;
  std::vector<row_place> places_;                 // of every row
  std::vector<std::size_t> wanted_;               // rows whose logits are asked for, ascending
  std::vector<kernels::attention_slice> slices_;  // all rows
  std::vector<kernels::attention_slice> wanted_slices_;  // the wanted rows only
  std::vector<block_index> waited_blocks_;               // that attention waits for in each layer
  std::size_t waited_blocks_max_ = 0;
  std::size_t layer_groups_ = 0;  // of a layer's matrices; 0: nothing is asked for ahead
  kernels::read_ahead ahead_;     // of the next attention
  aligned_buffer<float> hidden_;  // [row][hidden_size], the residual stream
  std::size_t thread_row_stride_;
  aligned_buffer<float> thread_rows_;  // [thread][row of a part][hidden_size], a line more between
  aligned_buffer<float> cosines_, sines_;  // [row][pair]
  activations normed_;                     // input of Q, K, V; of gate and up; of the head
  activations attended_;  // queries, and in their place the input of the output projection
  activations gated_;     // input of down
};

}  // namespace troupe
