// A step cut by rows: each part goes through all layers on a thread of its own, so that threads
// share neither activations nor barriers. The price is that each thread reads all weights.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/attention/attention.hpp"
#include "runtime/model/forward_slice.hpp"
#include "runtime/model/model_description.hpp"
#include "runtime/model/weights.hpp"

namespace troupe {

/// Consecutive rows of a step's flat batch.
struct row_part {
  std::vector<forward_slice> slices;
  /// The first slice goes on with one of which the parts from this one on hold the rows before:
  /// attention needs their K and V of the same layer. The part's own index where it needs none.
  std::size_t needs_from = 0;
};

/// How many parts to cut row_count rows into, 1 .. thread_count. 1 also where so few rows would
/// wait for weights more than they gain; the more threads share a memory, the more rows make up for
/// reading it again. rows_alone_min: kernels::rows_alone_min.
std::size_t row_part_count(std::size_t row_count, std::size_t thread_count,
                           std::size_t rows_alone_min);

/// What attention over one position costs, by what a row's matmuls cost: the larger one of both.
struct position_costs {
  double computed = 0.0;  ///< for each row behind it
  double read = 0.0;      ///< from memory, once for all rows of a slice
};

position_costs position_costs_of(const model_description& model, const model_weights& weights,
                                 const kernels::kv_layout& layout);

/// Cuts the slices into part_count parts of about the same cost, the slices' order kept; a part may
/// be empty. A row costs 1, and more for each position before its own. A slice is cut only where a
/// tile of the cache begins, so that no part reads what another one writes meanwhile. Of a cut
/// slice that wants its last row's logits only the last piece wants them. The pieces refer to what
/// the slices refer to.
std::vector<row_part> cut_rows(std::span<const forward_slice> slices, std::size_t part_count,
                               const position_costs& costs);

}  // namespace troupe
