// The kernel calls of a step in the order of their data, not of the pass: all layers' matmuls, then
// all layers' attention. That leaves the caches to each part about as the pass would.
#include <algorithm>
#include <cmath>
#include <span>

#include "bench/kernels/forward_step.hpp"
#include "bench/kernels/synthetic_data.hpp"
#include "runtime/decode/sampler.hpp"
#include "runtime/model/row_parts.hpp"

namespace troupe::bench {

namespace {

/// Rows of one width as matmul reads them; they are never written, so all layers share them.
struct step_rows {
  std::vector<float> floats;
  kernels::quantized_rows quantized;
  std::size_t width = 0;

  step_rows() = default;
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

/// The rows of a step that a thread takes through all layers, or all of them. Outputs are
/// overwritten by every call and read by none.
class step_share {
 public:
  step_share(isa set, const forward_model& model, std::span<const forward_slice> slices)
      : set_(set), model_(model) {
    for (const forward_slice& slice : slices) {
      kernels::attention_slice rows{.row_first = row_count_,
                                    .row_count = slice.tokens.size(),
                                    .position_first = slice.position_first,
                                    .block_table = slice.block_table};
      slices_.push_back(rows);
      row_count_ += rows.row_count;
      if (slice.want == forward_slice::logits::none) continue;
      rows.row_first = row_count_ - 1;
      rows.position_first += rows.row_count - 1;
      rows.row_count = 1;
      last_slices_.push_back(rows);
    }
    const auto& description = model.description;
    query_width_ = description.head_count * description.head_dim;
    normed_ = step_rows(set, row_count_, description.hidden_size);
    attended_ = step_rows(set, row_count_, query_width_);
    gated_ = step_rows(set, row_count_, description.intermediate_size);
    const std::size_t qkv_width =
        query_width_ + 2 * description.kv_head_count * description.head_dim;
    output_.resize(row_count_ * std::max({qkv_width, 2 * description.intermediate_size,
                                          description.hidden_size}));
  }

  void multiply_layers(thread_pool& pool) {
    for (std::size_t index = 0; index < model_.description.layer_count; ++index) {
      const layer_weights& layer = model_.weights.layer(index);
      const std::size_t rows = is_last(index) ? last_slices_.size() : row_count_;
      const kernels::packed_matrix* const qkv[] = {&layer.query, &layer.key, &layer.value};
      const kernels::packed_matrix* const o[] = {&layer.output};
      const kernels::packed_matrix* const gate_up[] = {&layer.gate, &layer.up};
      const kernels::packed_matrix* const down[] = {&layer.down};
      multiply(qkv, normed_, row_count_, output_.data(), pool);
      multiply(o, attended_, rows, output_.data(), pool);
      multiply_into_scratch(gate_up, normed_, rows, pool);
      multiply(down, gated_, rows, output_.data(), pool);
    }
  }

  void attend_layers(thread_pool& pool) {
    const std::size_t head_dim = model_.description.head_dim;
    const kernels::attention_arguments arguments{
        .query = attended_.floats.data(),
        .query_stride = query_width_,
        .output = output_.data(),
        .output_stride = query_width_,
        .head_count = model_.description.head_count,
        .scale = 1.0f / std::sqrt(static_cast<float>(head_dim))};
    for (std::size_t index = 0; index < model_.description.layer_count; ++index) {
      kernels::paged_attention(set_, model_.cache.layout(), model_.cache.layer(index),
                               is_last(index) ? last_slices_ : slices_, arguments, pool);
    }
  }

 private:
  [[nodiscard]] bool is_last(std::size_t layer) const {
    return layer + 1 == model_.description.layer_count;
  }

  isa set_;
  const forward_model& model_;
  std::vector<kernels::attention_slice> slices_, last_slices_;
  std::size_t row_count_ = 0, query_width_ = 0;
  step_rows normed_, attended_, gated_;
  std::vector<float> output_;
};

/// The parts of a step, on threads as the pass has them.
class step_parts {
 public:
  step_parts(const kernel_runner& runner, const forward_model& model,
             std::span<const forward_slice> slices)
      : runner_(runner),
        model_(model),
        sequence_count_(slices.size()),
        head_input_(runner.set(), slices.size(), model.description.hidden_size),
        logits_(slices.size() * model.description.vocab_size) {
    std::size_t row_count = 0;
    for (const forward_slice& slice : slices) row_count += slice.tokens.size();
    const std::size_t thread_count = runner.pool().thread_count();
    const std::size_t part_count =
        row_part_count(row_count, thread_count, kernels::rows_alone_min(runner.set(), row_count));
    add_shares(cut_rows(slices, part_count, {}), matmul_shares_);
    add_shares(cut_rows(slices, part_count, attention_only), attention_shares_);
    for (std::size_t i = 0; i < thread_count; ++i)
      samplers_.emplace_back(model.description.vocab_size);
  }

  void multiply_layers() {
    run_shares(matmul_shares_,
               [](step_share& share, thread_pool& pool) { share.multiply_layers(pool); });
  }
  void attend_layers() {
    run_shares(attention_shares_,
               [](step_share& share, thread_pool& pool) { share.attend_layers(pool); });
  }

  void multiply_head() {
    const kernels::packed_matrix* const head[] = {&model_.weights.head()};
    multiply(head, head_input_, sequence_count_, logits_.data(), runner_.pool());
  }

  void sample() {
    const std::size_t vocab_size = model_.description.vocab_size;
    const std::span<const float> logits = logits_;
    sampling_params greedy;
    greedy.temperature = 0.0f;
    runner_.pool().parallel_for(sequence_count_, [&](std::size_t row, std::size_t thread) {
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
  /// The pass's threads are done together with all that they do; so they are here with each part.
  static constexpr position_costs attention_only{.computed = 1e9};

  void add_shares(std::span<const row_part> parts, std::vector<step_share>& to) {
    for (const row_part& part : parts) to.emplace_back(runner_.set(), model_, part.slices);
  }

  template <class Work>
  void run_shares(std::vector<step_share>& shares, const Work& work) {
    if (shares.size() == 1) return work(shares[0], runner_.pool());
    runner_.pool().parallel_for(shares.size(), [&](std::size_t share, std::size_t) {
      thread_pool alone({.thread_count = 1});
      work(shares[share], alone);
    });
  }

  const kernel_runner& runner_;
  const forward_model& model_;
  std::size_t sequence_count_;
  std::vector<step_share> matmul_shares_, attention_shares_;
  step_rows head_input_;
  std::vector<float> logits_;
  std::vector<sampler> samplers_;
};

}  // namespace

void run_step_and_parts(kernel_runner& runner, const forward_model& model, const step_shape& shape,
                        std::span<const forward_slice> slices, const kernel_part& whole) {
  step_parts parts(runner, model, slices);
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
