#include "runtime/model/row_parts.hpp"

#include <algorithm>

#include "kernels/attention/attention.hpp"
#include "kernels/base/check.hpp"
#include "kernels/base/divide_up.hpp"

namespace troupe {

namespace {

/// Rows of a part at least where two threads share a memory.
constexpr std::size_t rows_min_of_two = 3;

/// How long an operation of attention takes, by how long one of a matmul does.
constexpr double attention_slowness = 3.0;

/// Multiplications of a prompt's matmuls that a thread does while it reads a byte of K or V from
/// memory: with what mixed steps are fastest (two threads of a Xeon with AMX, its tiles and its
/// vectors).
constexpr double multiplications_per_byte(isa set) {
  return multiplies_in_bf16(set) ? 70.0 : 20.0;
}

/// Of each position before a row of the slice.
double position_cost_in(const forward_slice& slice, const position_costs& costs) {
  return std::max(costs.computed, costs.read / static_cast<double>(slice.tokens.size()));
}

double cost_of(const forward_slice& slice, double position_cost) {
  const auto count = static_cast<double>(slice.tokens.size());
  const double position = static_cast<double>(slice.position_first) + (count - 1.0) / 2.0;
  return count * (1.0 + position_cost * position);
}

/// Tokens first .. end - 1 of a slice.
forward_slice piece_of(const forward_slice& slice, std::size_t first, std::size_t end) {
  forward_slice piece = slice;
  piece.tokens = slice.tokens.subspan(first, end - first);
  piece.position_first += first;
  if (end < slice.tokens.size() && slice.want == forward_slice::logits::last)
    piece.want = forward_slice::logits::none;
  return piece;
}

}  // namespace

std::size_t row_part_count(std::size_t row_count, std::size_t thread_count,
                           std::size_t rows_alone_min) {
  if (thread_count == 1) return 1;
  const std::size_t rows_min =
      std::max(rows_alone_min, kernels::divide_up(rows_min_of_two * thread_count, std::size_t{2}));
  return std::clamp<std::size_t>(row_count / rows_min, 1, thread_count);
}

position_costs position_costs_of(const model_description& model, const model_weights& weights,
                                 const kernels::kv_layout& layout) {
  const auto width = static_cast<double>(model.head_count * model.head_dim);
  const auto position_bytes =
      static_cast<double>(layout.block_bytes()) / static_cast<double>(layout.block_tokens);
  double elements = 0.0;
  for (const auto* matrix : weights.layer(0).matrices()) {
    elements += static_cast<double>(matrix->row_count() * matrix->column_count());
  }
  return {.computed = attention_slowness * 2.0 * width / elements,
          .read = multiplications_per_byte(weights.instruction_set()) * position_bytes / elements};
}

std::vector<row_part> cut_rows(std::span<const forward_slice> slices, std::size_t part_count,
                               const position_costs& costs) {
  TROUPE_CHECK(part_count > 0);
  std::vector<row_part> parts(part_count);
  for (std::size_t i = 0; i < part_count; ++i) parts[i].needs_from = i;
  double left = 0.0;
  for (const forward_slice& slice : slices) left += cost_of(slice, position_cost_in(slice, costs));
  std::size_t part = 0;
  double room = left / static_cast<double>(part_count);
  for (const forward_slice& slice : slices) {
    const std::size_t count = slice.tokens.size();
    const double position_cost = position_cost_in(slice, costs);
    std::size_t first = 0;          // of the piece that the part at hand gets
    std::size_t slice_part = part;  // that the slice's first row is in
    for (std::size_t begin = 0, end; begin < count; begin = end) {
      const std::size_t in_tile = (slice.position_first + begin) % kernels::kv_tile_tokens;
      end = std::min(count, begin + kernels::kv_tile_tokens - in_tile);
      const double cost = cost_of(piece_of(slice, begin, end), position_cost);
      // More of it lies in the next part, and this one has some rows.
      if (cost / 2.0 > room && part + 1 < part_count &&
          (begin > first || !parts[part].slices.empty())) {
        if (begin > first) parts[part].slices.push_back(piece_of(slice, first, begin));
        if (begin == 0) slice_part = part + 1;
        parts[++part].needs_from = slice_part;
        room = left / static_cast<double>(part_count - part);
        first = begin;
      }
      room -= cost;
      left -= cost;
    }
    parts[part].slices.push_back(piece_of(slice, first, count));
  }
  return parts;
}

}  // namespace troupe
