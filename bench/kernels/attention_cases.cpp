// Attention over one layer's cache. Calls move on through a cache that exceeds the last-level
// cache. Work is 4 * head_dim operations for each (head, query, visible key), bytes are the visible
// K and V once for each sequence.
#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "bench/kernels/kernel_cases.hpp"
#include "bench/kernels/model_shapes.hpp"
#include "bench/kernels/synthetic_data.hpp"
#include "kernels/attention/kv_dtype_name.hpp"
#include "kernels/base/page_arena.hpp"

namespace troupe::bench {

namespace {

using kernels::kv_dtype;

constexpr std::size_t batches[] = {1, 16, 32};
constexpr std::size_t decode_contexts[] = {192, 1024, 8192};
constexpr std::size_t prefill_contexts[] = {0, 2048};
constexpr std::size_t prefill_rows = 512;
constexpr std::size_t block_tokens = 16;

/// sequence_count sequences of row_count new tokens after position_first others.
struct attention_shape {
  std::string name;
  std::size_t sequence_count = 1;
  std::size_t row_count = 1;
  std::size_t position_first = 0;

  [[nodiscard]] std::size_t blocks_each() const {
    return (position_first + row_count + block_tokens - 1) / block_tokens;
  }
};

std::vector<attention_shape> shapes_of(const std::string& prefix) {
  std::vector<attention_shape> shapes;
  for (const std::size_t batch : batches) {
    for (const std::size_t context : decode_contexts) {
      shapes.push_back(
          {fmt::format("{}/decode/b={}/c={}/cold", prefix, batch, context), batch, 1, context});
    }
  }
  for (const std::size_t context : prefill_contexts) {
    shapes.push_back({fmt::format("{}/prefill{}/c={}/cold", prefix, prefill_rows, context), 1,
                      prefill_rows, context});
  }
  return shapes;
}

kernel_work work_of(const kernels::kv_layout& layout, std::size_t head_count,
                    const attention_shape& shape) {
  const auto rows = static_cast<double>(shape.row_count),
             before = static_cast<double>(shape.position_first);
  const auto sequences = static_cast<double>(shape.sequence_count);
  const double pairs = sequences * rows * (before + (rows + 1.0) / 2.0);
  kernel_work work;
  double& operations = layout.type == kv_dtype::int8 ? work.int8_operations : work.float_operations;
  operations = 4.0 * pairs * static_cast<double>(head_count * layout.head_dim);
  work.bytes =
      sequences * (before + rows) * static_cast<double>(layout.block_bytes() / layout.block_tokens);
  return work;
}

void run_shape(kernel_runner& runner, const model_shape& model, const kernels::kv_layout& layout,
               kernels::kv_layer cache, const attention_shape& shape) {
  const std::size_t width = model.head_count * model.head_dim;
  const std::size_t row_count = shape.sequence_count * shape.row_count;
  const auto query = some_floats(row_count * width);
  std::vector<float> output(query.size());
  // Two windows of the same table begin at different blocks: one for each place of a call in the
  // cache.
  std::vector<block_index> table(2 * cache.block_count);
  for (std::size_t i = 0; i < table.size(); ++i)
    table[i] = static_cast<block_index>(i % cache.block_count);
  std::vector<kernels::attention_slice> slices(shape.sequence_count);
  std::size_t next_block = 0;
  runner.run(shape.name, work_of(layout, model.head_count, shape), [&] {
    for (std::size_t i = 0; i < slices.size(); ++i) {
      slices[i] = {.row_first = i * shape.row_count,
                   .row_count = shape.row_count,
                   .position_first = shape.position_first,
                   .block_table = std::span(table).subspan(next_block, shape.blocks_each())};
      next_block = (next_block + shape.blocks_each()) % cache.block_count;
    }
    kernels::paged_attention(runner.set(), layout, cache, slices,
                             {.query = query.data(),
                              .query_stride = width,
                              .output = output.data(),
                              .output_stride = width,
                              .head_count = model.head_count,
                              .scale = 1.0f / std::sqrt(static_cast<float>(model.head_dim))},
                             runner.pool());
  });
}

void run_type(kernel_runner& runner, const model_shape& model, kv_dtype type) {
  const kernels::kv_layout layout{.type = type,
                                  .kv_head_count = model.kv_head_count,
                                  .head_dim = model.head_dim,
                                  .block_tokens = block_tokens};
  std::vector<attention_shape> wanted;
  std::size_t block_count = cold_walk_bytes(runner.sizes()) / layout.block_bytes() + 1;
  for (const attention_shape& shape :
       shapes_of(fmt::format("attention/{}/{}", model.name, to_string(type)))) {
    if (!runner.wants(shape.name)) continue;
    wanted.push_back(shape);
    block_count = std::max(block_count, shape.sequence_count * shape.blocks_each());
  }
  if (wanted.empty()) return;
  // On the pages of a server's cache.
  page_arena arena;
  const std::size_t bytes = block_count * layout.block_bytes();
  const std::span memory(reinterpret_cast<std::byte*>(arena.allocate(bytes)), bytes);
  fill_weight_bytes(memory);
  for (const attention_shape& shape : wanted) {
    run_shape(runner, model, layout, {memory.data(), block_count}, shape);
  }
}

}  // namespace

void run_attention_cases(kernel_runner& runner) {
  for (const model_shape& model : model_shapes) {
    for (const kv_dtype type : kernels::kv_dtypes) run_type(runner, model, type);
  }
}

}  // namespace troupe::bench
