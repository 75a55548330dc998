// What a step must do, from the model's shapes. After the last layer's K and V only the rows with
// logits go on: one for each sequence.
#include "bench/kernels/forward_step.hpp"

namespace troupe::bench {

namespace {

void add_matrix(const kernels::packed_matrix& matrix, std::size_t row_count, kernel_work& work) {
  add_multiplications(matrix, row_count, work);
  work.bytes += static_cast<double>(matrix.size_bytes());
}

}  // namespace

std::vector<block_index> step_block_table(const step_shape& shape) {
  std::vector<block_index> table;
  for (std::size_t i = 0; i < shape.sequence_count * shape.blocks_each(); ++i) {
    table.push_back(static_cast<block_index>(i));
  }
  return table;
}

kernel_work layers_work(const forward_model& model, const step_shape& shape) {
  kernel_work work;
  for (std::size_t index = 0; index < model.description.layer_count; ++index) {
    const layer_weights& layer = model.weights.layer(index);
    for (const auto* matrix : {&layer.query, &layer.key, &layer.value}) {
      add_matrix(*matrix, shape.rows(), work);
    }
    const bool is_last = index + 1 == model.description.layer_count;
    for (const auto* matrix : {&layer.output, &layer.gate, &layer.up, &layer.down}) {
      add_matrix(*matrix, is_last ? shape.sequence_count : shape.rows(), work);
    }
  }
  return work;
}

kernel_work attention_work(const forward_model& model, const step_shape& shape) {
  const auto& description = model.description;
  const auto layers = static_cast<double>(description.layer_count);
  const auto context = static_cast<double>(shape.context),
             rows = static_cast<double>(shape.row_count);
  const auto sequences = static_cast<double>(shape.sequence_count);
  const double pairs =
      sequences * ((layers - 1.0) * rows * (context + (rows + 1.0) / 2.0) + context + rows);
  kernel_work work;
  work.float_operations =
      4.0 * pairs * static_cast<double>(description.head_count * description.head_dim);
  work.bytes = sequences * (context + rows) * layers *
               static_cast<double>(model.cache.layout().block_bytes() / step_block_tokens);
  return work;
}

kernel_work head_work(const forward_model& model, const step_shape& shape) {
  kernel_work work;
  add_matrix(model.weights.head(), shape.sequence_count, work);
  return work;
}

}  // namespace troupe::bench
