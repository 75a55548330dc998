// Drawing tokens from rows of logits, a row to a task as the executor does it. Bytes are one
// reading of each row, which the last-level cache holds; operations the exponentials where a draw
// needs all of them.
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "bench/kernels/kernel_cases.hpp"
#include "bench/kernels/model_shapes.hpp"
#include "bench/kernels/synthetic_data.hpp"
#include "runtime/decode/sampler.hpp"

namespace troupe::bench {

namespace {

constexpr std::size_t row_count = 16;
/// Of one exponential in runtime/decode/exponential_sum.cpp: 2 for the argument, 3 and 4 for its
/// parts, 14 for the polynomial, 1 for the power and 1 for the sum.
constexpr double exp_operations = 25.0;

struct draw_case {
  std::string_view name;
  float temperature = 0.0f;
  float top_p = 1.0f;
  double operations = 0.0;  ///< of a token of the vocabulary, at least
};
constexpr draw_case draws[] = {{"greedy", 0.0f, 1.0f, 1.0},
                               {"temperature", 1.0f, 1.0f, 1.0},
                               {"top_p", 0.8f, 0.95f, exp_operations}};

void run_draw(kernel_runner& runner, const model_shape& model, const draw_case& draw,
              logits_shape shape) {
  const std::string name = fmt::format("sampling/{}/{}/{}/hot", model.name, draw.name,
                                       shape == logits_shape::flat ? "flat" : "peaked");
  if (!runner.wants(name)) return;
  const auto logits = some_logits(row_count, model.vocab_size, shape);
  const std::size_t threads = runner.pool().thread_count();
  std::vector<sampler> samplers;
  for (std::size_t i = 0; i < threads; ++i) samplers.emplace_back(model.vocab_size);
  sampling_params params;
  params.temperature = draw.temperature;
  params.top_p = draw.top_p;
  const std::size_t bytes = logits.size() * sizeof(float);
  const kernel_work work{.float_operations = static_cast<double>(logits.size()) * draw.operations,
                         .bytes = static_cast<double>(bytes),
                         .tier = tier_of(runner.sizes(), bytes, threads)};
  std::uint64_t position = 0;
  runner.run(name, work, [&] {
    ++position;
    runner.pool().parallel_for(row_count, [&](std::size_t row, std::size_t thread) {
      sampling_context context;
      context.position = position;
      context.sequence = static_cast<std::uint32_t>(row);
      const std::span<const float> all = logits;
      static_cast<void>(samplers[thread].sample(
          all.subspan(row * model.vocab_size, model.vocab_size), params, context));
    });
  });
}

}  // namespace

void run_sampling_cases(kernel_runner& runner) {
  for (const model_shape& model : model_shapes) {
    for (const draw_case& draw : draws) {
      for (const auto shape : {logits_shape::peaked, logits_shape::flat})
        run_draw(runner, model, draw, shape);
    }
  }
}

}  // namespace troupe::bench
