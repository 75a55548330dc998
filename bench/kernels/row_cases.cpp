// Kernels over single rows, as a forward pass runs them: some rows to a task, in buffers that the
// caches hold. Operations are counted from the kernels' formulas; a fused multiply-add is two.
// Bytes are the reads and writes of a row; what all rows share (norm weights, rope tables) is not
// counted.
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "bench/kernels/kernel_cases.hpp"
#include "bench/kernels/model_shapes.hpp"
#include "bench/kernels/synthetic_data.hpp"
#include "kernels/exp/exp.hpp"
#include "kernels/matmul/matmul.hpp"
#include "kernels/rms_norm/rms_norm.hpp"
#include "kernels/rope/rope.hpp"
#include "kernels/silu_mul/silu_mul.hpp"

namespace troupe::bench {

namespace {

constexpr std::size_t row_count = 128;
constexpr std::size_t rows_per_task = 16;

// Of an element.
constexpr double norm_operations = 4.0;   // square and add, scale, weigh
constexpr double rope_operations = 3.0;   // a product, and a fused multiply-add for every element
constexpr double exp_operations = 20.0;   // 3 for n, 4 for r, 12 for the polynomial, 1 for 2^n
constexpr double silu_operations = 23.0;  // exp, add, divide, multiply
constexpr double quantize_operations = 2.0;  // compare with the maximum, scale
constexpr std::size_t norm_bytes = 8;        // x, y
constexpr std::size_t rope_bytes = 8;
constexpr std::size_t exp_bytes = 8;
constexpr std::size_t silu_bytes = 12;
constexpr std::size_t quantize_bytes = 6;  // a float in; a byte by row and once more by tile

struct row_case {
  std::string name;
  std::size_t width = 0;  ///< elements of a row
  double operations = 0.0;
  std::size_t bytes = 0;
};

void run_rows(kernel_runner& runner, const row_case& chosen,
              const std::function<void(std::size_t)>& body) {
  const std::size_t elements = row_count * chosen.width;
  const std::size_t bytes = elements * chosen.bytes;
  const kernel_work work{.float_operations = static_cast<double>(elements) * chosen.operations,
                         .bytes = static_cast<double>(bytes),
                         .tier = tier_of(runner.sizes(), bytes, runner.pool().thread_count())};
  runner.run(chosen.name, work, [&] {
    runner.pool().parallel_for(row_count / rows_per_task, [&](std::size_t task, std::size_t) {
      for (std::size_t i = 0; i < rows_per_task; ++i) body(task * rows_per_task + i);
    });
  });
}

void run_norm_and_quantize(kernel_runner& runner, const model_shape& model) {
  const std::size_t width = model.hidden_size;
  const auto x = some_floats(row_count * width), weight = some_floats(width);
  auto y = x;
  run_rows(runner, {fmt::format("rms_norm/{}/hot", model.name), width, norm_operations, norm_bytes},
           [&](std::size_t row) {
             if (row % kernels::part_rows != 0) return;  // as a forward pass does, a part at once
             kernels::rms_norm(runner.set(), {.x = x.data() + row * width,
                                              .x_stride = width,
                                              .row_count = kernels::part_rows,
                                              .count = width,
                                              .weight = weight.data(),
                                              .epsilon = 1e-5f,
                                              .y = y.data() + row * width,
                                              .y_stride = width});
           });
  kernels::quantized_rows quantized;
  quantized.resize(runner.set(), row_count, width);
  run_rows(runner,
           {fmt::format("quantize/{}/hot", model.name), width, quantize_operations, quantize_bytes},
           [&](std::size_t row) {
             if (row % kernels::part_rows != 0) return;
             kernels::quantize_block(runner.set(),
                                     {.first = x.data() + row * width,
                                      .stride = width,
                                      .row_count = kernels::part_rows,
                                      .column_count = width},
                                     row, 0, quantized);
           });
}

void run_rope(kernel_runner& runner, const model_shape& model, bool interleaved) {
  const std::size_t heads = model.head_count + model.kv_head_count;
  const std::size_t width = heads * model.head_dim, pairs = model.head_dim / 2;
  auto x = some_floats(row_count * width);
  const std::vector<float> cosines(pairs, 0.8f), sines(pairs, 0.6f);
  const std::string name =
      fmt::format("rope/{}/{}/hot", model.name, interleaved ? "interleaved" : "halves");
  run_rows(runner, {name, width, rope_operations, rope_bytes}, [&](std::size_t row) {
    kernels::rope(runner.set(), {.heads = x.data() + row * width,
                                 .head_count = heads,
                                 .head_stride = model.head_dim,
                                 .pair_count = pairs,
                                 .cosines = cosines.data(),
                                 .sines = sines.data(),
                                 .interleaved = interleaved});
  });
}

void run_elementwise(kernel_runner& runner, const model_shape& model) {
  const std::size_t width = model.intermediate_size;
  const auto gate = some_floats(row_count * width), up = some_floats(row_count * width);
  std::vector<float> y(row_count * width);
  run_rows(runner, {fmt::format("silu_mul/{}/hot", model.name), width, silu_operations, silu_bytes},
           [&](std::size_t row) {
             const std::size_t at = row * width;
             kernels::silu_mul(runner.set(), gate.data() + at, up.data() + at, width,
                               y.data() + at);
           });
  run_rows(runner, {fmt::format("exp/{}/hot", model.name), width, exp_operations, exp_bytes},
           [&](std::size_t row) {
             kernels::exp_row(runner.set(), gate.data() + row * width, width,
                              y.data() + row * width);
           });
}

}  // namespace

void run_row_cases(kernel_runner& runner) {
  for (const model_shape& model : model_shapes) {
    run_norm_and_quantize(runner, model);
    run_rope(runner, model, true);
    run_rope(runner, model, false);
    run_elementwise(runner, model);
  }
}

}  // namespace troupe::bench
