#include "kernels/attention/attention.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/attention/attention_item.hpp"
#include "kernels/base/aligned_buffer.hpp"
#include "kernels/base/check.hpp"
#include "kernels/base/divide_up.hpp"

namespace troupe::kernels {

namespace {

using detail::attention_item;
using detail::soft_scale;

/// Tasks per thread below which segments become tasks of their own.
constexpr std::size_t tasks_per_thread_min = 4;

/// Query rows (positions x heads of a group) of a slice of several positions from which tiles are
/// worth their while, and that an item of them gets at least.
constexpr std::size_t many_rows_min = 16;

/// Runs items of up to so many rows.
struct item_kernel {
  void (*run)(const attention_item&);
  std::size_t rows_max;
};

struct variant {
  item_kernel few;
  item_kernel many;  ///< of slices with many_rows_min rows or more; gives the same bits
  void (*merge)(const attention_item&);

  variant(void (*run)(const attention_item&), std::size_t rows_max,
          void (*merge_partials)(const attention_item&))
      : few{run, rows_max}, many(few), merge(merge_partials) {}
};

variant variant_of(isa set, const kv_layout& layout) {
  const bool has_pair_dot = layout.type == kv_dtype::bf16 && detect_cpu_features().avx512_bf16;
  const bool has_byte_tiles = layout.type == kv_dtype::int8 && detect_cpu_features().amx_int8 &&
                              layout.head_dim % detail::attention_head_dim_step_amx_bytes == 0;
  const bool in_pair_tiles = multiplies_in_bf16(set) && layout.type == kv_dtype::bf16 &&
                             layout.head_dim % detail::attention_head_dim_step_amx_pairs == 0;
  switch (set) {
    case isa::bf16_reference:
    case isa::reference: break;
    case isa::avx2:
      return variant(detail::attention_item_avx2, detail::attention_rows_max_avx2,
                     detail::attention_merge_avx2);
    case isa::amx:
    case isa::avx512: {
      variant chosen(
          has_pair_dot ? detail::attention_item_avx512bf16 : detail::attention_item_avx512,
          detail::attention_rows_max_avx512, detail::attention_merge_avx512);
      if (has_byte_tiles)
        chosen.many = {detail::attention_item_amx_bytes, detail::attention_rows_max_amx};
      if (in_pair_tiles) {
        chosen.many = {detail::attention_item_amx_pairs, detail::attention_rows_max_amx};
        chosen.few = {detail::attention_item_amx_few_pairs, detail::attention_rows_max_avx512};
      }
      return chosen;
    }
  }
  return variant(in_pair_tiles ? detail::attention_item_pairs_ref : detail::attention_item_ref,
                 detail::attention_rows_max_avx512, detail::attention_merge_ref);
}

/// Capacity that calls reuse; it carries nothing from one call to the next.
struct workspace {
  std::vector<attention_item> items;
  std::vector<attended_range> ranges;  ///< of the items' outputs
  std::vector<attention_item> segments;
  aligned_buffer<float> partials;
};

void check_layout(const kv_layout& layout) {
  TROUPE_CHECK(layout.head_dim > 0 && layout.head_dim % head_dim_step(layout.type) == 0);
  TROUPE_CHECK(layout.head_dim <= attention_head_dim_max);
  TROUPE_CHECK(layout.block_tokens > 0 && layout.block_tokens % kv_tile_tokens == 0);
  TROUPE_CHECK(attention_segment_tokens % layout.block_tokens == 0);
}

soft_scale soft_scale_of(float scale) {
  constexpr float exponent_min = -125.0f;  // no weight becomes subnormal
  const float factor = scale * std::numbers::log2e_v<float>;
  return {.exponent_factor = factor, .difference_min = exponent_min / factor};
}

std::size_t segment_count(const attention_item& item) {
  return item.segment_end - item.segment_first;
}

std::size_t partial_count(const attention_item& item) {
  return item.position_count * item.head_count * (2 + item.head_dim);
}

/// The items of one slice, each over all of its segments; about items_wanted where that leaves each
/// many_rows_min rows. Those of the same rows follow each other, so that threads begin with rows of
/// their own.
void add_items(const kv_layout& layout, kv_layer layer, const attention_slice& slice,
               const attention_arguments& arguments, const soft_scale& soft, const variant& chosen,
               std::size_t items_wanted, workspace& space) {
  const std::size_t group = arguments.head_count / layout.kv_head_count;
  const item_kernel& kernel = waits_for_memory(slice, group) ? chosen.few : chosen.many;
  const std::size_t heads_max = std::min(group, kernel.rows_max);
  const std::size_t items_of_position = layout.kv_head_count * divide_up(group, heads_max);
  const std::size_t positions_most = kernel.rows_max / heads_max;
  const std::size_t positions_least = std::min(divide_up(many_rows_min, heads_max), positions_most);
  const std::size_t positions_max = std::clamp(slice.row_count * items_of_position / items_wanted,
                                               positions_least, positions_most);
  const std::size_t end = slice.position_first + slice.row_count;
  TROUPE_CHECK(slice.block_table.size() * layout.block_tokens >= end);
  std::size_t position = slice.position_first, position_count = 0;
  for (; position < end; position += position_count) {
    const std::size_t segment_left = attention_segment_tokens - position % attention_segment_tokens;
    const std::size_t left = std::min(end - position, segment_left);
    position_count = divide_up(left, divide_up(left, positions_max));
    for (std::size_t kv_head = 0; kv_head < layout.kv_head_count; ++kv_head) {
      for (std::size_t head = 0; head < group; head += heads_max) {
        attention_item item;
        item.run = kernel.run;
        item.cache = {.data = layer.data + 2 * kv_head * layout.head_block_bytes(),
                      .block_bytes = layout.block_bytes(),
                      .values_offset = layout.head_block_bytes(),
                      .block_tokens = layout.block_tokens,
                      .tile_bytes = layout.tile_bytes(),
                      .type = layout.type,
                      .table = slice.block_table.data()};
        item.head_dim = layout.head_dim;
        item.head_count = std::min(heads_max, group - head);
        item.position_first = position;
        item.position_count = position_count;
        item.segment_end = position / attention_segment_tokens + 1;
        const std::size_t row = slice.row_first + position - slice.position_first;
        const std::size_t column = (kv_head * group + head) * layout.head_dim;
        item.query = arguments.query + row * arguments.query_stride + column;
        item.query_stride = arguments.query_stride;
        item.soft = soft;
        item.output = arguments.output + row * arguments.output_stride + column;
        item.output_stride = arguments.output_stride;
        space.items.push_back(item);
        space.ranges.push_back({row, item.position_count, column, item.head_count * item.head_dim});
      }
    }
  }
}

/// A thread probably runs items in a row.
void link_next(std::vector<attention_item>& items) {
  for (std::size_t i = 0; i + 1 < items.size(); ++i) items[i].next = &items[i + 1];
}

/// Every segment as a task of its own, then a merge for each item.
void run_split(const variant& chosen, const attention_arguments& arguments, workspace& space,
               thread_pool& pool) {
  std::size_t float_count = 0;
  for (const attention_item& item : space.items) {
    float_count += segment_count(item) * partial_count(item);
  }
  space.partials.reserve_discarding(float_count);
  space.segments.clear();
  float* partials = space.partials.data();
  for (attention_item& item : space.items) {
    item.partials = partials;
    for (std::size_t segment = item.segment_first; segment < item.segment_end; ++segment) {
      attention_item part = item;
      part.segment_first = segment;
      part.segment_end = segment + 1;
      part.partials = partials;
      space.segments.push_back(part);
      partials += partial_count(item);
    }
  }
  link_next(space.segments);
  pool.parallel_for(space.segments.size(), [&](std::size_t task, std::size_t) {
    space.segments[task].run(space.segments[task]);
  });
  pool.parallel_for(space.items.size(), [&](std::size_t task, std::size_t) {
    chosen.merge(space.items[task]);
    arguments.epilogue(space.ranges[task]);
  });
}

}  // namespace

bool waits_for_memory(const attention_slice& slice, std::size_t heads_per_kv_head) noexcept {
  return slice.row_count == 1 || slice.row_count * heads_per_kv_head < many_rows_min;
}

void write_kv_head(isa set, const kv_layout& layout, kv_layer layer,
                   std::span<const block_index> block_table, std::size_t position, std::size_t head,
                   const float* k, const float* v) {
  const std::size_t block = to_index(block_table[position / layout.block_tokens]);
  TROUPE_CHECK(block < layer.block_count && head < layout.kv_head_count);
  const std::size_t in_block = position % layout.block_tokens;
  std::byte* const head_data =
      layer.data + block * layout.block_bytes() + 2 * head * layout.head_block_bytes();
  detail::kv_row_target target;
  target.keys = head_data + in_block / kv_tile_tokens * layout.tile_bytes();
  target.values = target.keys + layout.head_block_bytes();
  target.token = in_block % kv_tile_tokens;
  target.head_dim = layout.head_dim;
  target.type = layout.type;
  switch (set) {
    case isa::bf16_reference:
    case isa::reference: return detail::write_kv_head_ref(target, k, v);
    case isa::avx2: return detail::write_kv_head_avx2(target, k, v);
    case isa::amx:
    case isa::avx512: return detail::write_kv_head_avx512(target, k, v);
  }
}

void write_kv(isa set, const kv_layout& layout, kv_layer layer,
              std::span<const attention_slice> slices, const float* k, const float* v,
              std::size_t row_stride, thread_pool& pool) {
  check_layout(layout);
  pool.parallel_for(slices.size(), [&](std::size_t task, std::size_t) {
    const attention_slice& slice = slices[task];
    for (std::size_t i = 0; i < slice.row_count; ++i) {
      for (std::size_t head = 0; head < layout.kv_head_count; ++head) {
        const std::size_t offset = (slice.row_first + i) * row_stride + head * layout.head_dim;
        write_kv_head(set, layout, layer, slice.block_table, slice.position_first + i, head,
                      k + offset, v + offset);
      }
    }
  });
}

void paged_attention(isa set, const kv_layout& layout, kv_layer layer,
                     std::span<const attention_slice> slices, const attention_arguments& arguments,
                     thread_pool& pool) {
  check_layout(layout);
  TROUPE_CHECK(layout.kv_head_count > 0 && arguments.head_count % layout.kv_head_count == 0);
  TROUPE_CHECK(arguments.output != arguments.query ||
               arguments.output_stride == arguments.query_stride);
  const soft_scale soft = soft_scale_of(arguments.scale);
  TROUPE_CHECK(arguments.scale > 0.0f && std::isfinite(soft.exponent_factor) &&
               std::isfinite(soft.difference_min));
  thread_local workspace space;
  const variant chosen = variant_of(set, layout);
  space.items.clear();
  space.ranges.clear();
  const std::size_t wanted = tasks_per_thread_min * pool.thread_count();
  std::size_t segments_max = 0;
  for (const attention_slice& slice : slices) {
    add_items(layout, layer, slice, arguments, soft, chosen, wanted, space);
    if (slice.row_count > 0)
      segments_max = std::max(segments_max, segment_count(space.items.back()));
  }
  if (pool.thread_count() > 1 && segments_max > 1 && space.items.size() < wanted) {
    run_split(chosen, arguments, space, pool);
    return;
  }
  link_next(space.items);
  // Captured by pointer: in another thread the name would mean that thread's own.
  const workspace* made = &space;
  pool.parallel_for(made->items.size(), [&, made](std::size_t task, std::size_t) {
    const attention_item& item = made->items[task];
    item.run(item);
    arguments.epilogue(made->ranges[task]);
  });
}

}  // namespace troupe::kernels
