// Steps of a real model's forward pass, sampling not included. Work is what its matrices and its
// attention must do: the pass itself is not asked, because clocks have no place in it.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "bench/kernels/kernel_cases.hpp"
#include "bench/kernels/synthetic_data.hpp"
#include "runtime/model/forward.hpp"

namespace troupe::bench {

namespace {

constexpr std::size_t block_tokens = 16;

/// sequence_count sequences of row_count new tokens each after context others.
struct step_shape {
  std::string name;
  std::size_t sequence_count = 1;
  std::size_t row_count = 1;
  std::size_t context = 0;

  [[nodiscard]] std::size_t rows() const { return sequence_count * row_count; }
  [[nodiscard]] std::size_t blocks_each() const {
    return (context + row_count + block_tokens - 1) / block_tokens;
  }
};

std::vector<step_shape> step_shapes() {
  std::vector<step_shape> shapes;
  const auto add_decode = [&](std::size_t batch, std::size_t context) {
    shapes.push_back({fmt::format("forward/decode/b={}/c={}", batch, context), batch, 1, context});
  };
  for (const std::size_t batch : {1, 16, 32, 64, 128, 256}) add_decode(batch, 192);
  for (const std::size_t context : {1024, 4096, 8192}) add_decode(1, context);
  add_decode(16, 4096);
  shapes.push_back({"forward/prefill512/c=0", 1, 512, 0});
  return shapes;
}

struct forward_model {
  gguf_file file;
  model_description description;
  model_weights weights;
  kv_cache cache;
};

result<forward_model> open_model(kernel_runner& runner, const std::filesystem::path& path,
                                 std::size_t block_count) {
  TROUPE_TRY(auto file, gguf_file::open(path));
  TROUPE_TRY(auto description, model_description::from_gguf(file));
  TROUPE_TRY(auto weights, model_weights::load(file, description, runner.set(), runner.pool()));
  TROUPE_TRY(const auto layout, kv_layout_for(description, kernels::kv_dtype::f16, block_tokens));
  TROUPE_TRY(auto cache, kv_cache::create(layout, description.layer_count, block_count));
  for (std::size_t layer = 0; layer < cache.layer_count(); ++layer) {
    fill_weight_bytes({cache.layer(layer).data, block_count * layout.block_bytes()});
  }
  return forward_model{std::move(file), std::move(description), std::move(weights),
                       std::move(cache)};
}

void add_matrix(const kernels::packed_matrix& matrix, std::size_t row_count, kernel_work& work) {
  const double operations = 2.0 * static_cast<double>(row_count) *
                            static_cast<double>(matrix.row_count() * matrix.column_count());
  (matrix.wants_quantized() ? work.int8_operations : work.float_operations) += operations;
}

/// After the last layer's K and V only the rows with logits go on: one for each sequence.
kernel_work work_of(const kernel_runner& runner, const forward_model& model,
                    const step_shape& shape) {
  const auto& description = model.description;
  kernel_work work;
  double pairs = 0.0;
  for (std::size_t index = 0; index < description.layer_count; ++index) {
    const bool is_last = index + 1 == description.layer_count;
    const layer_weights& layer = model.weights.layer(index);
    for (const auto* matrix : {&layer.query, &layer.key, &layer.value})
      add_matrix(*matrix, shape.rows(), work);
    const std::size_t rows = is_last ? shape.sequence_count : shape.rows();
    for (const auto* matrix : {&layer.output, &layer.gate, &layer.up, &layer.down}) {
      add_matrix(*matrix, rows, work);
    }
    const double after = static_cast<double>(is_last ? 1 : shape.row_count + 1) / 2.0;
    pairs += static_cast<double>(rows) * (static_cast<double>(shape.context) + after);
  }
  add_matrix(model.weights.head(), shape.sequence_count, work);
  work.float_operations +=
      4.0 * pairs * static_cast<double>(description.head_count * description.head_dim);
  const std::size_t visible = shape.sequence_count * (shape.context + shape.row_count);
  const std::size_t bytes = model.weights.size_bytes() + visible *
                                                             model.cache.layout().block_bytes() /
                                                             block_tokens * description.layer_count;
  work.bytes = static_cast<double>(bytes);
  work.tier = tier_of(runner.sizes(), bytes, runner.pool().thread_count());
  return work;
}

void run_shape(kernel_runner& runner, forward_model& model, const step_shape& shape) {
  forward_pass pass(model.description, model.weights, model.cache, runner.pool(), runner.set(),
                    shape.rows());
  std::vector<token_id> tokens;
  for (std::size_t i = 0; i < shape.rows(); ++i) {
    tokens.push_back(static_cast<token_id>(i * 37 % model.description.vocab_size));
  }
  std::vector<block_index> table;
  for (std::size_t i = 0; i < shape.sequence_count * shape.blocks_each(); ++i) {
    table.push_back(static_cast<block_index>(i));
  }
  std::vector<forward_slice> step;
  for (std::size_t i = 0; i < shape.sequence_count; ++i) {
    step.push_back(
        {.tokens = std::span(tokens).subspan(i * shape.row_count, shape.row_count),
         .position_first = shape.context,
         .block_table = std::span(table).subspan(i * shape.blocks_each(), shape.blocks_each()),
         .want = forward_slice::logits::last});
  }
  runner.run(
      shape.name, work_of(runner, model, shape), [&] { pass.run(step); }, shape.rows());
}

}  // namespace

result<void> run_forward_cases(kernel_runner& runner, const std::filesystem::path& path) {
  std::vector<step_shape> wanted;
  std::size_t block_count = 0;
  for (const step_shape& shape : step_shapes()) {
    if (!runner.wants(shape.name)) continue;
    wanted.push_back(shape);
    block_count = std::max(block_count, shape.sequence_count * shape.blocks_each());
  }
  if (wanted.empty()) return {};
  TROUPE_TRY(auto model, open_model(runner, path, block_count));
  for (const step_shape& shape : wanted) run_shape(runner, model, shape);
  return {};
}

}  // namespace troupe::bench
