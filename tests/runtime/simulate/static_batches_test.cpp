// Static batches against closed forms: padding of two requests, time of a batch, what a batch waits
// for, and Little's view of the cache that contiguous pieces hold.
#include "runtime/simulate/static_batches.hpp"

#include <catch2/catch.hpp>

#include "runtime/simulate/figures.hpp"
#include "runtime/simulate/workload.hpp"

using namespace troupe;
using namespace troupe::simulate;
using namespace std::chrono_literals;

namespace {

static_batches_options options_of(std::uint32_t size) {
  static_batches_options options;
  options.batch_size = size;
  options.wait_max = 10ms;
  options.reserved_tokens = 100;
  options.kv_positions = 1000;
  options.cost.compute = {.step = 1.0, .prefill_token = 0.1, .decode_sequence = 0.5};
  return options;
}

virtual_request request_of(monotonic_time arrival, std::uint32_t prompt, std::uint32_t output) {
  return {.arrival = arrival, .prompt_tokens = prompt, .output_tokens = output};
}

double ms_of(monotonic_time time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

TEST_CASE("padding of two requests is what counting by hand gives", "[simulate]") {
  const std::vector requests{request_of(0ms, 10, 5), request_of(0ms, 30, 20)};
  const auto made = run_static_batches(options_of(2), requests).value();
  // Prompts: 2 x 30 rows for 40 tokens. Answers: 19 steps of 2 rows; 4 and 19 are wanted.
  CHECK(made.counts.rows == 60 + 38);
  CHECK(made.counts.padding_rows == 20 + 38 - 23);
  CHECK(made.counts.steps == 20);
  const double batch_ms = (1.0 + 6.0) + 19 * (1.0 + 1.0);
  for (const auto& each : made.outcomes) {
    CHECK(ms_of(each.finished) == Approx(batch_ms));
    CHECK(each.first_token == each.finished);
  }
  CHECK(made.counts.useful_ms == Approx(7.0 * 40 / 60 + (4 * 2.0 * 2 + 15 * 2.0) / 2));
}

TEST_CASE("equal lengths waste nothing, and fixed spread wastes its closed form", "[simulate]") {
  workload_description load;
  load.request_count = 1000;
  load.prompt.mean_tokens = 20;
  load.output.mean_tokens = 30;
  const auto equal = run_static_batches(options_of(10), make_workload(load, {}, 1)).value();
  CHECK(equal.counts.padding_rows == 0);
  CHECK(equal.counts.useful_ms == Approx(equal.counts.busy_ms));
  // Half the requests of every batch answer 10 tokens, half 30: of 29 steps 9 are for all.
  const auto mixed =
      run_static_batches(options_of(10), make_workload(load, {{20, 10}, {20, 30}}, 1)).value();
  const double rows = 10 * 20 + 29 * 10, wasted = 20 * 5;
  CHECK(static_cast<double>(mixed.counts.padding_rows) / static_cast<double>(mixed.counts.rows) ==
        Approx(wasted / rows));
}

TEST_CASE("a batch waits for others no longer than it may", "[simulate]") {
  const std::vector requests{request_of(0ms, 10, 1), request_of(4ms, 10, 1),
                             request_of(11ms, 10, 1)};
  const auto made = run_static_batches(options_of(8), requests).value();
  CHECK(ms_of(made.outcomes[0].finished) == Approx(10.0 + 3.0));
  CHECK(ms_of(made.outcomes[1].finished) == Approx(13.0));
  CHECK(ms_of(made.outcomes[2].finished) == Approx(21.0 + 2.0));
}

TEST_CASE("the cache bounds a batch, and its contiguous pieces are mostly empty", "[simulate]") {
  auto options = options_of(64);
  options.kv_positions = 250;  // two pieces of 100
  const std::vector requests(6, request_of(0ms, 20, 11));
  const auto made = run_static_batches(options, requests).value();
  CHECK(made.counts.seats == 2);
  CHECK(made.counts.steps == 3 * 11);
  const auto figures = summarize(requests, made, {}, 1.0);
  CHECK(figures.kv_fragmentation > 0.7);
  CHECK(figures.kv_fragmentation < 0.8);
  options.kv_positions = 99;
  CHECK(run_static_batches(options, requests).failure().message.find("99 positions") !=
        std::string::npos);
}

TEST_CASE("cold starts are counted, and what never fits is refused", "[simulate]") {
  auto options = options_of(1);
  options.cold_start_ms = 5.0;
  const std::vector requests{request_of(0ms, 10, 1), request_of(0ms, 90, 20),
                             request_of(0ms, 10, 1)};
  const auto made = run_static_batches(options, requests).value();
  CHECK(made.outcomes[1].end == virtual_end::refused);
  CHECK(made.counts.startup_ms == 10.0);
  CHECK(ms_of(made.end) == Approx(2 * (5.0 + 2.0)));  // a full batch does not wait
  const auto figures = summarize(requests, made, {}, 36.0);
  CHECK(figures.all.completed == 2);
  CHECK(figures.all.refused == 1);
  CHECK(figures.usd_per_million_requests == Approx(figures.duration_s * 0.01 / 2 * 1e6));
}
