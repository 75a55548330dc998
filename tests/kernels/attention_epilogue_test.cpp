// What paged attention calls for the ranges of outputs that its threads made.
#include <atomic>
#include <random>
#include <span>
#include <vector>

#include <catch2/catch.hpp>

#include "canary_buffer.hpp"
#include "kernels/attention/attention.hpp"

using namespace troupe;
using namespace troupe::kernels;

TEST_CASE("attention hands every output to the epilogue once, when it is final", "[attention]") {
  // Rows of two sequences, one of them over five segments: tasks of their own for many threads.
  constexpr std::size_t head_count = 6, head_dim = 32, width = head_count * head_dim;
  constexpr std::size_t row_count = 41, stride = width + 16, block_count = 2 * 33;
  const kv_layout layout{
      .type = kv_dtype::f16, .kv_head_count = 2, .head_dim = head_dim, .block_tokens = 32};
  std::vector<block_index> blocks(block_count);
  for (std::size_t i = 0; i < block_count; ++i) blocks[i] = static_cast<block_index>(i);
  const std::span<const block_index> table(blocks);
  const attention_slice slices[] = {{0, 40, 700, table.first(33)}, {40, 1, 1040, table.last(33)}};
  std::vector<std::byte> cache(block_count * layout.block_bytes());  // zeros but for own keys
  std::vector<float> queries(row_count * width), keys(row_count * 2 * head_dim);
  std::mt19937 random(19);
  std::normal_distribution<float> normal;
  for (float& each : queries) each = normal(random);
  for (float& each : keys) each = normal(random);
  for (const isa set : all_isas) {
    if (!is_supported(set)) continue;
    for (const std::size_t threads : {1, 8}) {
      CAPTURE(to_string(set), threads);
      thread_pool pool({.thread_count = threads});
      const kv_layer layer{cache.data(), block_count};
      write_kv(set, layout, layer, slices, keys.data(), keys.data(), 2 * head_dim, pool);
      std::vector<float> made(row_count * stride, -7.0f), handed = made;
      std::vector<std::atomic<int>> times(made.size());
      const auto take = [&](const attended_range& range) {
        for (std::size_t row = range.row_first; row < range.row_first + range.row_count; ++row) {
          for (std::size_t i = 0; i < range.column_count; ++i) {
            const std::size_t at = row * stride + range.column_first + i;
            handed[at] = made[at];
            times[at].fetch_add(1);
          }
        }
      };
      paged_attention(set, layout, layer, slices,
                      {.query = queries.data(),
                       .query_stride = width,
                       .output = made.data(),
                       .output_stride = stride,
                       .head_count = head_count,
                       .scale = 0.2f,
                       .epilogue = attention_epilogue(take)},
                      pool);
      CHECK(test::same_bits(made.data(), handed.data(), made.size()));
      std::size_t misses = 0;
      for (std::size_t at = 0; at < times.size(); ++at)
        misses += times[at] != (at % stride < width ? 1 : 0);
      CHECK(misses == 0);
    }
  }
}
