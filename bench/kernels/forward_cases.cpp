// Steps of a real model's forward pass, sampling not included, and their parts. Work is what the
// matrices and the attention must do; the pass itself is not asked, because clocks have no place in
// it.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "bench/kernels/forward_step.hpp"
#include "bench/kernels/kernel_cases.hpp"
#include "bench/kernels/synthetic_data.hpp"

namespace troupe::bench {

namespace {

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

result<forward_model> open_model(kernel_runner& runner, const forward_options& options,
                                 std::size_t block_count) {
  TROUPE_TRY(auto file, gguf_file::open(options.model));
  TROUPE_TRY(auto description, model_description::from_gguf(file));
  TROUPE_TRY(auto weights, model_weights::load(file, description, runner.set(), runner.pool()));
  TROUPE_TRY(const auto layout, kv_layout_for(description, options.kv_type, step_block_tokens));
  TROUPE_TRY(auto cache, kv_cache::create(layout, description.layer_count, block_count));
  for (std::size_t layer = 0; layer < cache.layer_count(); ++layer) {
    fill_weight_bytes({cache.layer(layer).data, block_count * layout.block_bytes()});
  }
  return forward_model{std::move(file), std::move(description), std::move(weights),
                       std::move(cache)};
}

kernel_work step_work(const kernel_runner& runner, const forward_model& model,
                      const step_shape& shape) {
  kernel_work work = layers_work(model, shape);
  for (const kernel_work& part : {attention_work(model, shape), head_work(model, shape)}) {
    work.int8_operations += part.int8_operations;
    work.bf16_operations += part.bf16_operations;
    work.float_operations += part.float_operations;
    work.bytes += part.bytes;
  }
  work.tier =
      tier_of(runner.sizes(), static_cast<std::size_t>(work.bytes), runner.pool().thread_count());
  return work;
}

void run_shape(kernel_runner& runner, forward_model& model, const step_shape& shape) {
  forward_pass pass(model.description, model.weights, model.cache, runner.pool(), runner.set(),
                    shape.rows());
  std::vector<token_id> tokens;
  for (std::size_t i = 0; i < shape.rows(); ++i) {
    tokens.push_back(static_cast<token_id>(i * 37 % model.description.vocab_size));
  }
  const auto table = step_block_table(shape);
  std::vector<forward_slice> step;
  for (std::size_t i = 0; i < shape.sequence_count; ++i) {
    step.push_back(
        {.tokens = std::span(tokens).subspan(i * shape.row_count, shape.row_count),
         .position_first = shape.context,
         .block_table = std::span(table).subspan(i * shape.blocks_each(), shape.blocks_each()),
         .want = forward_slice::logits::last});
  }
  run_step_and_parts(runner, model, shape, step,
                     {.name = shape.name,
                      .work = step_work(runner, model, shape),
                      .body = [&] { pass.run(step); },
                      .token_count = shape.rows()});
}

}  // namespace

result<void> run_forward_cases(kernel_runner& runner, const forward_options& options) {
  std::vector<step_shape> wanted;
  std::size_t block_count = 0;
  for (const step_shape& shape : step_shapes()) {
    std::vector<std::string> names{shape.name};
    for (const char* part : forward_part_names) names.push_back(shape.name + "/part=" + part);
    if (!runner.wants_any(names)) continue;
    wanted.push_back(shape);
    block_count = std::max(block_count, shape.sequence_count * shape.blocks_each());
  }
  if (wanted.empty()) return {};
  TROUPE_TRY(auto model, open_model(runner, options, block_count));
  for (const step_shape& shape : wanted) run_shape(runner, model, shape);
  return {};
}

}  // namespace troupe::bench
