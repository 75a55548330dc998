// A real model and the steps that are measured on it: what the whole pass and its parts share.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "bench/kernels/kernel_runner.hpp"
#include "kernels/base/result.hpp"
#include "runtime/model/forward.hpp"

namespace troupe::bench {

inline constexpr std::size_t step_block_tokens = 16;

/// sequence_count sequences of row_count new tokens each after context others; every sequence has
/// blocks of its own and wants the logits of its last row.
struct step_shape {
  std::string name;
  std::size_t sequence_count = 1;
  std::size_t row_count = 1;
  std::size_t context = 0;

  [[nodiscard]] std::size_t rows() const { return sequence_count * row_count; }
  [[nodiscard]] std::size_t blocks_each() const {
    return (context + row_count + step_block_tokens - 1) / step_block_tokens;
  }
};

struct forward_model {
  gguf_file file;
  model_description description;
  model_weights weights;
  kv_cache cache;
};

/// Blocks 0, 1, 2, ... for all sequences one after the other.
std::vector<block_index> step_block_table(const step_shape& shape);

/// All layers' matmuls, all layers' attention, the head, and greedy sampling.
inline constexpr const char* forward_part_names[] = {"matmul", "attention", "head", "sampling"};

/// The whole step, and /part=NAME: its kernel calls with the model's own weights, on threads as the
/// pass has them, without the pass around them. What the step takes beyond its parts are the
/// kernels over rows. slices are the step's.
void run_step_and_parts(kernel_runner& runner, const forward_model& model, const step_shape& shape,
                        std::span<const forward_slice> slices, const kernel_part& whole);

/// The work of a step without its attention, of the attention, and of the head alone.
kernel_work layers_work(const forward_model& model, const step_shape& shape);
kernel_work attention_work(const forward_model& model, const step_shape& shape);
kernel_work head_work(const forward_model& model, const step_shape& shape);

}  // namespace troupe::bench
