// Linear layers at every row count, over copies of the matrix that together exceed the last-level
// cache, as a model's layers do. Bytes are the packed weights, the activations and the outputs.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "bench/kernels/kernel_cases.hpp"
#include "bench/kernels/model_shapes.hpp"
#include "bench/kernels/synthetic_data.hpp"
#include "kernels/matmul/matmul.hpp"

namespace troupe::bench {

namespace {

constexpr std::size_t row_counts[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
/// Of a single copy that fits the last-level cache; large row counts do not care.
constexpr std::size_t hot_row_counts[] = {1, 16};

constexpr dtype layer_types[] = {dtype::q4_1, dtype::q4_0, dtype::q8_0, dtype::q4_k,
                                 dtype::q6_k, dtype::f16,  dtype::bf16, dtype::f32};
/// What a vocabulary-sized matrix is stored in, which would take long in all types.
constexpr dtype head_types[] = {dtype::q8_0, dtype::q6_k};

struct matrix_shape {
  std::string name;
  std::size_t output_count = 0;
  std::size_t input_count = 0;
  std::span<const dtype> types;
};

std::vector<matrix_shape> matrices_of(const model_shape& model) {
  const std::size_t query_width = model.head_count * model.head_dim;
  const std::size_t qkv_width = query_width + 2 * model.kv_head_count * model.head_dim;
  return {{"qkv", qkv_width, model.hidden_size, layer_types},
          {"o", model.hidden_size, query_width, layer_types},
          {"gate_up", 2 * model.intermediate_size, model.hidden_size, layer_types},
          {"down", model.hidden_size, model.intermediate_size, layer_types},
          {"head", model.vocab_size, model.hidden_size, head_types}};
}

std::string lower_name(dtype type) {
  std::string name(layout_of(type)->name);
  for (char& letter : name)
    letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
  return name;
}

/// Copies of one matrix that are used in turn.
class matrix_copies {
 public:
  matrix_copies(const kernel_runner& runner, const matrix_shape& shape, dtype type)
      : runner_(runner), arena_(std::make_shared<page_arena>()) {
    const auto layout = *layout_of(type);
    rows_.resize(shape.output_count * shape.input_count / layout.block_elements *
                 layout.block_bytes);
    fill_weights(type, rows_);
    shape_ = shape;
    type_ = type;
  }

  void make(std::size_t bytes_min) {
    while (copies_.empty() || copies_.size() * copy_bytes() < bytes_min) {
      copies_.push_back(kernels::packed_matrix::pack(runner_.set(), type_, rows_,
                                                     shape_.output_count, shape_.input_count,
                                                     runner_.pool(), arena_)
                            .value());
    }
  }

  [[nodiscard]] std::size_t copy_bytes() const { return copies_.front().size_bytes(); }

  const kernels::packed_matrix& next() {
    index_ = index_ + 1 == copies_.size() ? 0 : index_ + 1;
    return copies_[index_];
  }

 private:
  const kernel_runner& runner_;
  std::shared_ptr<page_arena> arena_;  ///< large pages, as a model's weights have
  matrix_shape shape_;
  dtype type_ = dtype::f32;
  std::vector<std::byte> rows_;
  std::vector<kernels::packed_matrix> copies_;
  std::size_t index_ = 0;
};

void run_rows(kernel_runner& runner, const std::string& name, matrix_copies& copies,
              std::size_t row_count, bool is_cold) {
  const kernels::packed_matrix& weight = copies.next();
  const std::size_t inputs = weight.column_count(), outputs = weight.row_count();
  const auto x = some_floats(row_count * inputs);
  kernels::quantized_rows quantized;
  quantized.resize(runner.set(), row_count, inputs);
  for (std::size_t row = 0; row < row_count; ++row) {
    kernels::quantize_row(runner.set(), x.data() + row * inputs, row, quantized);
  }
  std::vector<float> y(row_count * outputs);
  const std::size_t input_bytes = inputs * (weight.wants_quantized() ? 1 : sizeof(float));
  const std::size_t bytes =
      weight.size_bytes() + row_count * (input_bytes + outputs * sizeof(float));
  kernel_work work;
  add_multiplications(weight, row_count, work);
  work.bytes = static_cast<double>(bytes);
  if (!is_cold) work.tier = tier_of(runner.sizes(), bytes, runner.pool().thread_count());
  runner.run(name, work, [&] {
    const kernels::matmul_job job{.weight = &copies.next(),
                                  .quantized = &quantized,
                                  .floats = x.data(),
                                  .floats_stride = inputs,
                                  .output = y.data(),
                                  .output_stride = outputs};
    kernels::matmul(job, row_count, runner.pool());
  });
}

void run_matrix(kernel_runner& runner, const std::string& prefix, const matrix_shape& shape,
                dtype type) {
  const auto name_of = [&](std::size_t row_count, bool is_cold) {
    return fmt::format("{}/m={}/{}", prefix, row_count, is_cold ? "cold" : "hot");
  };
  std::vector<std::string> names;
  for (const std::size_t row_count : hot_row_counts) names.push_back(name_of(row_count, false));
  const bool wants_hot = runner.wants_any(names);
  names.clear();
  for (const std::size_t row_count : row_counts) names.push_back(name_of(row_count, true));
  const bool wants_cold = runner.wants_any(names);
  if (!wants_hot && !wants_cold) return;

  matrix_copies copies(runner, shape, type);
  copies.make(0);
  for (const std::size_t row_count : hot_row_counts) {
    if (copies.copy_bytes() <= runner.sizes().l3_bytes && runner.wants(name_of(row_count, false))) {
      run_rows(runner, name_of(row_count, false), copies, row_count, false);
    }
  }
  if (!wants_cold) return;
  copies.make(cold_walk_bytes(runner.sizes()));
  for (const std::size_t row_count : row_counts) {
    if (runner.wants(name_of(row_count, true))) {
      run_rows(runner, name_of(row_count, true), copies, row_count, true);
    }
  }
}

}  // namespace

void run_matmul_cases(kernel_runner& runner) {
  for (const model_shape& model : model_shapes) {
    for (const matrix_shape& shape : matrices_of(model)) {
      for (const dtype type : shape.types) {
        if (shape.input_count % layout_of(type)->block_elements != 0) continue;
        run_matrix(runner, fmt::format("matmul/{}/{}/{}", model.name, shape.name, lower_name(type)),
                   shape, type);
      }
    }
  }
}

}  // namespace troupe::bench
