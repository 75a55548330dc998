#include <algorithm>
#include <cmath>
#include <functional>
#include <span>

#include "bench/kernels/forward_step.hpp"
#include "bench/kernels/synthetic_data.hpp"
#include "runtime/decode/sampler.hpp"

namespace troupe::bench {

namespace {

/// Rows of one width as matmul reads them; they are never written, so all layers share them.
struct step_rows {
  std::vector<float> floats;
  kernels::quantized_rows quantized;
  std::size_t width;

  step_rows(isa set, std::size_t row_count, std::size_t columns)
      : floats(some_floats(row_count * columns)), width(columns) {
    quantized.resize(row_count, columns);
    for (std::size_t row = 0; row < row_count; ++row) {
      kernels::quantize_row(set, floats.data() + row * columns, row, quantized);
    }
  }
};

/// One job for each matrix, all on the same rows, outputs one behind the other.
void multiply(std::span<const kernels::packed_matrix* const> matrices, const step_rows& input,
              std::size_t row_count, float* output, thread_pool& pool) {
  std::vector<kernels::matmul_job> jobs;
  for (const kernels::packed_matrix* matrix : matrices) {
    jobs.push_back({.weight = matrix,
                    .quantized = &input.quantized,
                    .floats = input.floats.data(),
                    .floats_stride = input.width,
                    .output = output,
                    .output_stride = matrix->row_count()});
    output += row_count * matrix->row_count();
  }
  kernels::matmul(jobs, row_count, pool);
}

std::vector<kernels::attention_slice> attention_slices(const step_shape& shape,
                                                       std::span<const block_index> table,
                                                       bool last_rows_only) {
  std::vector<kernels::attention_slice> slices;
  const std::size_t skipped = last_rows_only ? shape.row_count - 1 : 0;
  for (std::size_t i = 0; i < shape.sequence_count; ++i) {
    slices.push_back({.row_first = i * shape.row_count + skipped,
                      .row_count = shape.row_count - skipped,
                      .position_first = shape.context + skipped,
                      .block_table = table.subspan(i * shape.blocks_each(), shape.blocks_each())});
  }
  return slices;
}

/// A part's bytes lie where the whole step's do: the others push them out.
void run_part(kernel_runner& runner, const step_shape& shape, const char* part, kernel_work work,
              memory_tier tier, const std::function<void()>& body) {
  work.tier = tier;
  runner.run(shape.name + "/part=" + part, work, body);
}

void run_layers(kernel_runner& runner, const forward_model& model, const step_shape& shape,
                memory_tier tier) {
  const auto& description = model.description;
  const std::size_t query_width = description.head_count * description.head_dim;
  const step_rows normed(runner.set(), shape.rows(), description.hidden_size);
  const step_rows attended(runner.set(), shape.rows(), query_width);
  const step_rows gated(runner.set(), shape.rows(), description.intermediate_size);
  const std::size_t qkv_width = query_width + 2 * description.kv_head_count * description.head_dim;
  std::vector<float> output(shape.rows() * std::max({qkv_width, 2 * description.intermediate_size,
                                                     description.hidden_size}));
  run_part(runner, shape, "matmul", layers_work(model, shape), tier, [&] {
    for (std::size_t index = 0; index < description.layer_count; ++index) {
      const layer_weights& layer = model.weights.layer(index);
      const bool is_last = index + 1 == description.layer_count;
      const std::size_t rows = is_last ? shape.sequence_count : shape.rows();
      const kernels::packed_matrix* const qkv[] = {&layer.query, &layer.key, &layer.value};
      const kernels::packed_matrix* const o[] = {&layer.output};
      const kernels::packed_matrix* const gate_up[] = {&layer.gate, &layer.up};
      const kernels::packed_matrix* const down[] = {&layer.down};
      multiply(qkv, normed, shape.rows(), output.data(), runner.pool());
      multiply(o, attended, rows, output.data(), runner.pool());
      multiply(gate_up, normed, rows, output.data(), runner.pool());
      multiply(down, gated, rows, output.data(), runner.pool());
    }
  });
}

void run_attention(kernel_runner& runner, const forward_model& model, const step_shape& shape,
                   memory_tier tier) {
  const auto& description = model.description;
  const auto table = step_block_table(shape);
  const auto slices = attention_slices(shape, table, false);
  const auto last_slices = attention_slices(shape, table, true);
  const std::size_t width = description.head_count * description.head_dim;
  const auto query = some_floats(shape.rows() * width);
  std::vector<float> output(query.size());
  const kernels::attention_arguments arguments{
      .query = query.data(),
      .query_stride = width,
      .output = output.data(),
      .output_stride = width,
      .head_count = description.head_count,
      .scale = 1.0f / std::sqrt(static_cast<float>(description.head_dim))};
  run_part(runner, shape, "attention", attention_work(model, shape), tier, [&] {
    for (std::size_t index = 0; index < description.layer_count; ++index) {
      const bool is_last = index + 1 == description.layer_count;
      kernels::paged_attention(runner.set(), model.cache.layout(), model.cache.layer(index),
                               is_last ? last_slices : slices, arguments, runner.pool());
    }
  });
}

void run_head_and_sampling(kernel_runner& runner, const forward_model& model,
                           const step_shape& shape, memory_tier tier) {
  const std::size_t vocab_size = model.description.vocab_size;
  const step_rows normed(runner.set(), shape.sequence_count, model.description.hidden_size);
  auto logits = some_logits(shape.sequence_count, vocab_size, logits_shape::peaked);
  std::vector<sampler> samplers;
  for (std::size_t i = 0; i < runner.pool().thread_count(); ++i) samplers.emplace_back(vocab_size);
  sampling_params greedy;
  greedy.temperature = 0.0f;
  const std::size_t logits_bytes = logits.size() * sizeof(float);
  const kernel_work sampling{.float_operations = static_cast<double>(logits.size()),
                             .bytes = static_cast<double>(logits_bytes)};
  run_part(
      runner, shape, "sampling", sampling,
      tier_of(runner.sizes(), logits_bytes, runner.pool().thread_count()), [&] {
        runner.pool().parallel_for(shape.sequence_count, [&](std::size_t row, std::size_t thread) {
          const std::span<const float> all = logits;
          static_cast<void>(
              samplers[thread].sample(all.subspan(row * vocab_size, vocab_size), greedy, {}));
        });
      });
  const kernels::packed_matrix* const head[] = {&model.weights.head()};
  run_part(runner, shape, "head", head_work(model, shape), tier,
           [&] { multiply(head, normed, shape.sequence_count, logits.data(), runner.pool()); });
}

}  // namespace

void run_forward_parts(kernel_runner& runner, const forward_model& model, const step_shape& shape) {
  const double bytes = layers_work(model, shape).bytes + attention_work(model, shape).bytes +
                       head_work(model, shape).bytes;
  const memory_tier tier =
      tier_of(runner.sizes(), static_cast<std::size_t>(bytes), runner.pool().thread_count());
  run_layers(runner, model, shape, tier);
  run_attention(runner, model, shape, tier);
  run_head_and_sampling(runner, model, shape, tier);
}

}  // namespace troupe::bench
