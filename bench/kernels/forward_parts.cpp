// The kernel calls of a step in the order of their data, not of the pass: all layers' matmuls, then
// all layers' attention. That leaves the caches to each part about as the pass would.
#include <algorithm>
#include <cmath>
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
    quantized.resize(set, row_count, columns);
    for (std::size_t row = 0; row < row_count; ++row) {
      kernels::quantize_row(set, floats.data() + row * columns, row, quantized);
    }
  }
};

/// One for each matrix, all on the same rows, without outputs.
std::vector<kernels::matmul_job> jobs_of(std::span<const kernels::packed_matrix* const> matrices,
                                         const step_rows& input) {
  std::vector<kernels::matmul_job> jobs;
  for (const kernels::packed_matrix* matrix : matrices) {
    jobs.push_back({.weight = matrix,
                    .quantized = &input.quantized,
                    .floats = input.floats.data(),
                    .floats_stride = input.width});
  }
  return jobs;
}

/// One job for each matrix, all on the same rows, outputs one behind the other.
void multiply(std::span<const kernels::packed_matrix* const> matrices, const step_rows& input,
              std::size_t row_count, float* output, thread_pool& pool) {
  std::vector<kernels::matmul_job> jobs = jobs_of(matrices, input);
  for (kernels::matmul_job& job : jobs) {
    job.output = output;
    job.output_stride = job.weight->row_count();
    output += row_count * job.output_stride;
  }
  std::vector<kernels::matmul_set> sets;
  for (const kernels::matmul_job& job : jobs) sets.push_back({.jobs = {&job, 1}, .epilogue = {}});
  kernels::matmul(sets, row_count, pool);
}

/// The same for gate and up, which are made together and whose outputs only an epilogue sees.
void multiply_into_scratch(std::span<const kernels::packed_matrix* const> matrices,
                           const step_rows& input, std::size_t row_count, thread_pool& pool) {
  const std::vector<kernels::matmul_job> jobs = jobs_of(matrices, input);
  const auto ignore = [](const kernels::output_range&) {};
  const kernels::matmul_set set{.jobs = jobs,
                                .epilogue = kernels::matmul_epilogue(ignore),
                                .output_multiple = kernels::activation_group_size};
  kernels::matmul({&set, 1}, row_count, pool);
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

/// The buffers of a step and its parts. Outputs are overwritten by every call and read by none but
/// sampling.
class step_parts {
 public:
  step_parts(const kernel_runner& runner, const forward_model& model, const step_shape& shape)
      : runner_(runner),
        model_(model),
        shape_(shape),
        query_width_(model.description.head_count * model.description.head_dim),
        normed_(runner.set(), shape.rows(), model.description.hidden_size),
        attended_(runner.set(), shape.rows(), query_width_),
        gated_(runner.set(), shape.rows(), model.description.intermediate_size),
        table_(step_block_table(shape)),
        slices_(attention_slices(shape, table_, false)),
        last_slices_(attention_slices(shape, table_, true)),
        logits_(shape.sequence_count * model.description.vocab_size) {
    const auto& description = model.description;
    const std::size_t qkv_width =
        query_width_ + 2 * description.kv_head_count * description.head_dim;
    output_.resize(shape.rows() * std::max({qkv_width, 2 * description.intermediate_size,
                                            description.hidden_size}));
    for (std::size_t i = 0; i < runner.pool().thread_count(); ++i) {
      samplers_.emplace_back(description.vocab_size);
    }
  }

  void multiply_layers() {
    for (std::size_t index = 0; index < model_.description.layer_count; ++index) {
      const layer_weights& layer = model_.weights.layer(index);
      const std::size_t rows = is_last(index) ? shape_.sequence_count : shape_.rows();
      const kernels::packed_matrix* const qkv[] = {&layer.query, &layer.key, &layer.value};
      const kernels::packed_matrix* const o[] = {&layer.output};
      const kernels::packed_matrix* const gate_up[] = {&layer.gate, &layer.up};
      const kernels::packed_matrix* const down[] = {&layer.down};
      multiply(qkv, normed_, shape_.rows(), output_.data(), runner_.pool());
      multiply(o, attended_, rows, output_.data(), runner_.pool());
      multiply_into_scratch(gate_up, normed_, rows, runner_.pool());
      multiply(down, gated_, rows, output_.data(), runner_.pool());
    }
  }

  void attend_layers() {
    const std::size_t head_dim = model_.description.head_dim;
    const kernels::attention_arguments arguments{
        .query = attended_.floats.data(),
        .query_stride = query_width_,
        .output = output_.data(),
        .output_stride = query_width_,
        .head_count = model_.description.head_count,
        .scale = 1.0f / std::sqrt(static_cast<float>(head_dim))};
    for (std::size_t index = 0; index < model_.description.layer_count; ++index) {
      kernels::paged_attention(runner_.set(), model_.cache.layout(), model_.cache.layer(index),
                               is_last(index) ? last_slices_ : slices_, arguments, runner_.pool());
    }
  }

  void multiply_head() {
    const kernels::packed_matrix* const head[] = {&model_.weights.head()};
    multiply(head, normed_, shape_.sequence_count, logits_.data(), runner_.pool());
  }

  void sample() {
    const std::size_t vocab_size = model_.description.vocab_size;
    const std::span<const float> logits = logits_;
    sampling_params greedy;
    greedy.temperature = 0.0f;
    runner_.pool().parallel_for(shape_.sequence_count, [&](std::size_t row, std::size_t thread) {
      static_cast<void>(
          samplers_[thread].sample(logits.subspan(row * vocab_size, vocab_size), greedy, {}));
    });
  }

  [[nodiscard]] kernel_work sampling_work() const {
    const std::size_t bytes = logits_.size() * sizeof(float);
    return {.float_operations = static_cast<double>(logits_.size()),
            .bytes = static_cast<double>(bytes),
            .tier = tier_of(runner_.sizes(), bytes, runner_.pool().thread_count())};
  }

 private:
  [[nodiscard]] bool is_last(std::size_t layer) const {
    return layer + 1 == model_.description.layer_count;
  }

  const kernel_runner& runner_;
  const forward_model& model_;
  const step_shape& shape_;
  std::size_t query_width_;
  step_rows normed_, attended_, gated_;
  std::vector<block_index> table_;
  std::vector<kernels::attention_slice> slices_, last_slices_;
  std::vector<float> output_, logits_;
  std::vector<sampler> samplers_;
};

}  // namespace

void run_step_and_parts(kernel_runner& runner, const forward_model& model, const step_shape& shape,
                        const kernel_part& whole) {
  step_parts parts(runner, model, shape);
  kernel_work layers = layers_work(model, shape), attention = attention_work(model, shape);
  kernel_work head = head_work(model, shape);
  // The bytes of a part lie where the whole step's do: the other parts push them out.
  layers.tier = attention.tier = head.tier = whole.work.tier;
  const std::string start = shape.name + "/part=";
  const kernel_part in_turn[] = {
      whole,
      {start + forward_part_names[0], layers, [&] { parts.multiply_layers(); }},
      {start + forward_part_names[1], attention, [&] { parts.attend_layers(); }},
      {start + forward_part_names[2], head, [&] { parts.multiply_head(); }},
      {start + forward_part_names[3], parts.sampling_work(), [&] { parts.sample(); }}};
  runner.run_in_turn(in_turn);
}

}  // namespace troupe::bench
