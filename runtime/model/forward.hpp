// One forward pass over a flat batch: some prefill chunks, some decode tokens. A slice's logits are
// the same bits whatever else is in the batch and however its tokens are cut into steps (design:
// batch invariance).
//
// A step, for each layer:   norm -> Q, K, V -> (Q/K norm) -> RoPE -> KV write -> attention ->
// output projection
//                           -> add, norm -> gate, up -> SwiGLU -> down -> add
// After the last layer's KV write only the rows whose logits are wanted go on.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "kernels/base/cpu_features.hpp"
#include "kernels/base/thread_pool.hpp"
#include "runtime/model/forward_slice.hpp"
#include "runtime/model/kv_cache.hpp"
#include "runtime/model/model_description.hpp"
#include "runtime/model/weights.hpp"

namespace troupe {

class forward_pass {
 public:
  /// Everything handed in must outlive the pass. set must be what the weights are packed for; cache
  /// has the model's layer count and head shape.
  forward_pass(const model_description& description, const model_weights& weights, kv_cache& cache,
               thread_pool& pool, isa set, std::size_t max_tokens_per_step);
  forward_pass(forward_pass&&) noexcept;
  forward_pass& operator=(forward_pass&&) noexcept;
  ~forward_pass();

  /// Runs one step of at most max_tokens_per_step tokens. No slice reads or writes a block that
  /// another one writes. The result has a row of vocab_size floats for each wanted position, in
  /// slice order, and is valid until the next call.
  std::span<const float> run(std::span<const forward_slice> slices);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// The layout that a model's cache needs. Error: unsupported for a head shape that attention does
/// not take.
result<kernels::kv_layout> kv_layout_for(const model_description& description,
                                         kernels::kv_dtype type, std::size_t block_tokens);

}  // namespace troupe
