// A model's weights, repacked for one instruction set. Immutable after loading and shareable
// between threads. The token embedding is not repacked: rows are read from the mapped file, so the
// gguf_file has to outlive the weights.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "kernels/base/aligned_buffer.hpp"
#include "kernels/base/cpu_features.hpp"
#include "kernels/base/index_types.hpp"
#include "kernels/base/result.hpp"
#include "kernels/base/thread_pool.hpp"
#include "kernels/matmul/matmul.hpp"
#include "runtime/model/gguf.hpp"
#include "runtime/model/model_description.hpp"

namespace troupe {

struct layer_weights {
  kernels::packed_matrix query, key, value, output;
  kernels::packed_matrix gate, up, down;
  aligned_buffer<float> attention_norm, feed_forward_norm;  ///< hidden_size
  aligned_buffer<float> query_bias, key_bias, value_bias;   ///< empty without has_qkv_bias
  aligned_buffer<float> query_norm, key_norm;               ///< head_dim; empty without has_qk_norm

  [[nodiscard]] std::array<const kernels::packed_matrix*, 7> matrices() const {
    return {&query, &key, &value, &output, &gate, &up, &down};
  }
};

class model_weights {
 public:
  /// Packs every matrix on the pool. progress (may be empty) hears the fraction of the bytes that
  /// are done, ascending from 0 to 1. Errors: corrupt for a missing tensor, unsupported for a type
  /// that cannot be packed or read.
  static result<model_weights> load(const gguf_file& file, const model_description& description,
                                    isa set, thread_pool& pool,
                                    const std::function<void(float)>& progress = {});

  [[nodiscard]] const layer_weights& layer(std::size_t index) const { return layers_[index]; }
  [[nodiscard]] std::size_t layer_count() const { return layers_.size(); }
  [[nodiscard]] std::span<const float> output_norm() const { return output_norm_.span(); }
  [[nodiscard]] const kernels::packed_matrix& head() const {
    return *head_;
  }  ///< vocab_size x hidden_size
  [[nodiscard]] isa instruction_set() const { return set_; }
  [[nodiscard]] std::size_t size_bytes() const;  ///< of the packed matrices

  /// Writes the embedding of a token (hidden_size floats). The token is below vocab_size.
  void read_embedding(token_id token, std::span<float> out) const;

 private:
  model_weights() = default;

  std::vector<layer_weights> layers_;
  aligned_buffer<float> output_norm_;
  std::optional<kernels::packed_matrix> head_;
  std::span<const std::byte> embedding_;
  std::size_t embedding_row_bytes_ = 0;
  std::size_t vocab_size_ = 0;
  dtype embedding_type_ = dtype::f32;
  isa set_ = isa::reference;
};

}  // namespace troupe
