#include "bench/serve/bench_serve.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "bench/serve/arrivals.hpp"
#include "config/limits.hpp"
#include "runtime/model/gguf.hpp"

namespace troupe::bench {
namespace {

// One seed makes several independent streams; arrivals.cpp has another.
constexpr std::uint64_t lane_stream = 0x6c616e65735f5f5f;

double cpu_s() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

result<void> check(const bench_options& options) {
  if (options.request_count == 0 || options.request_count > limits::bench_request_count_max)
    return error{errc::invalid_argument,
                 fmt::format("{} prompts; 1 to {} are possible", options.request_count,
                             limits::bench_request_count_max)};
  if (options.concurrency_max > limits::bench_concurrency_max)
    return error{errc::invalid_argument,
                 fmt::format("a concurrency of {}; at most {} is possible", options.concurrency_max,
                             limits::bench_concurrency_max)};
  if (!(options.rate_per_s > 0.0) || !(options.burstiness > 0.0))
    return error{errc::invalid_argument, "the request rate and the burstiness must be above 0"};
  if (options.model_file.empty())
    return error{errc::invalid_argument, "no tokenizer: name the model's GGUF file with --model"};
  return {};
}

result<std::vector<work_item>> make_work(bench_options& options) {
  TROUPE_TRY(auto file, gguf_file::open(options.model_file));
  TROUPE_TRY(auto tokens, tokenizer::from_gguf(file));
  options.sharegpt.request_count = options.random.request_count = options.request_count;
  options.sharegpt.seed = options.random.seed = options.seed;
  if (options.data == dataset::random) return make_random_prompts(*tokens, options.random);
  TROUPE_TRY(auto conversations, read_sharegpt(options.dataset_file));
  return sample_sharegpt(
      std::move(conversations), options.sharegpt, [&tokens](std::string_view text) {
        return tokens->encode(text, {.parse_special = true, .add_special = true}).size();
      });
}

result<void> warm_up(load_transport& transport, const load_job& job, std::size_t count) {
  if (count == 0) return {};
  load_job first;
  first.work.assign(count, job.work.front());
  first.lanes.assign(count, job.lanes.front());
  first.generation = job.generation;
  load_run run({.arrivals_s = std::vector<double>(count, 0.0),
                .concurrency_max = 1,
                .counts_from_arrival = false,
                .on_ended = {}});
  transport.drive(first, run);
  for (const request_record& record : run.records())
    if (!record.is_ok)
      return error{errc::unavailable, fmt::format("the first request failed: {}", record.failure)};
  return {};
}

load_report report_of(const bench_options& options, load_run& run) {
  load_report report;
  report.setup = {.url = options.url,
                  .model = options.generation.model,
                  .dataset = options.data == dataset::random ? "random" : "sharegpt",
                  .request_count = options.request_count,
                  .concurrency_max = options.concurrency_max,
                  .rate_per_s = options.rate_per_s,
                  .burstiness = options.burstiness,
                  .seed = options.seed};
  report.metrics = options.metrics;
  const figure_options figures{run.duration_s(), options.percents, options.goodput};
  std::vector<const request_record*> all;
  std::map<lane, std::vector<const request_record*>> by_lane;
  for (const request_record& record : run.records()) {
    all.push_back(&record);
    by_lane[record.service].push_back(&record);
    if (!record.is_ok && report.failures.size() < limits::bench_failure_texts_max &&
        std::find(report.failures.begin(), report.failures.end(), record.failure) ==
            report.failures.end())
      report.failures.push_back(record.failure);
  }
  report.figures = summarize(all, figures);
  if (!options.lanes.empty())
    for (const auto& [service, records] : by_lane)
      report.lanes[service] = summarize(records, figures);
  return report;
}

}  // namespace

result<load_report> run_bench(bench_options options, const bench_progress& progress) {
  TROUPE_TRY_VOID(check(options));
  TROUPE_TRY(auto transport, open_transport(options.url, options.api_key));
  progress.on_phase("making the requests");
  load_job job;
  TROUPE_TRY(job.work, make_work(options));
  job.lanes = choose_lanes(options.lanes, job.work.size(), options.seed ^ lane_stream);
  options.generation.model = options.served_model_name;
  if (options.generation.model.empty()) {
    TROUPE_TRY(options.generation.model, transport->find_model());
  }
  job.generation = options.generation;
  progress.on_phase("warming up");
  TROUPE_TRY_VOID(warm_up(*transport, job, options.warmup_count));

  progress.on_phase(fmt::format("sending {} requests", job.work.size()));
  load_run run({.arrivals_s = arrival_times_s({.request_count = job.work.size(),
                                               .rate_per_s = options.rate_per_s,
                                               .burstiness = options.burstiness,
                                               .seed = options.seed}),
                .concurrency_max = options.concurrency_max,
                .counts_from_arrival = !std::isinf(options.rate_per_s),
                .on_ended = [&](std::size_t ended) {
                  progress.on_fraction(static_cast<float>(ended) /
                                       static_cast<float>(job.work.size()));
                }});
  for (std::size_t i = 0; i < job.work.size(); ++i) {
    run.records()[i].service = job.lanes[i];
    run.records()[i].prompt_tokens = job.work[i].prompt_tokens;
  }
  const double cpu_before_s = cpu_s();
  transport->drive(job, run);
  load_report report = report_of(options, run);
  report.client_cpu_s = cpu_s() - cpu_before_s;
  return report;
}

}  // namespace troupe::bench
