// Executes step plans on a model: blocks to and from the lower tier, block copies, forward pass,
// sampling and prompt logprobs. Owns the compute threads and the KV cache; keeps nothing of any
// sequence between steps except the cache's contents.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kernels/base/thread_pool.hpp"
#include "runtime/decode/sampler.hpp"
#include "runtime/execute/loaded_model.hpp"
#include "runtime/execute/step_executor.hpp"
#include "runtime/model/forward.hpp"
#include "runtime/model/kv_cache.hpp"

namespace troupe {

struct executor_options {
  thread_pool::options threads;
  kernels::kv_layout layout;
  std::size_t block_count = 0;
  std::size_t max_tokens_per_step = 0;
};

class model_executor final : public step_executor {
 public:
  /// Errors: out_of_memory, with what the cache needs.
  static result<std::unique_ptr<step_executor>> create(std::shared_ptr<const loaded_model> model,
                                                       const executor_options& options);

  step_result execute(const step_plan& plan) override;

 private:
  model_executor(std::shared_ptr<const loaded_model> model, const executor_options& options,
                 kv_cache cache);
  std::vector<stored_block> offload_blocks(const step_plan& plan);
  void upload_blocks(const step_plan& plan);
  /// Copies, forward pass, sampling.
  std::vector<slice_result> compute(const step_plan& plan);
  slice_result finish_slice(const step_slice& slice, std::span<const float> rows,
                            sampler& drawer) const;

  std::shared_ptr<const loaded_model> model_;
  std::size_t vocab_size_;
  thread_pool pool_;
  kv_cache cache_;
  forward_pass forward_;
  std::vector<sampler> samplers_;  // one a compute thread
};

}  // namespace troupe
