// `troupe bench serve`: a load on a running server; figures to stdout, progress to stderr.
#include "bench/serve/bench_serve.hpp"

#include <cstdio>
#include <fstream>
#include <memory>

#include <fmt/format.h>

#include "cli/bench.hpp"
#include "cli/exit_codes.hpp"
#include "cli/progress_bar.hpp"

namespace troupe::cli {

namespace {

struct bench_serve_flags {
  bench::bench_options options;
  std::string lanes, percentile_metrics = "ttft,tpot,itl,e2el", metric_percentiles = "90,99",
                     result_file;
  std::string dataset_name = "random";
  std::vector<std::string> goodput;
};

int fail(const error& failure) {
  fmt::print(stderr, "troupe: {}\n", failure.message);
  return exit_code_of(failure);
}

/// The flags that are texts with a form of their own.
result<bench::bench_options> options_of(const bench_serve_flags& flags) {
  bench::bench_options options = flags.options;
  options.data =
      flags.dataset_name == "sharegpt" ? bench::dataset::sharegpt : bench::dataset::random;
  if (options.data == bench::dataset::sharegpt && options.dataset_file.empty())
    return error{errc::invalid_argument, "sharegpt needs --dataset-path"};
  TROUPE_TRY(options.lanes, bench::parse_lane_mix(flags.lanes));
  TROUPE_TRY(options.metrics, bench::parse_metrics(flags.percentile_metrics));
  TROUPE_TRY(options.percents, bench::parse_percents(flags.metric_percentiles));
  TROUPE_TRY(options.goodput, bench::parse_goodput(flags.goodput));
  return options;
}

int bench_serve(const bench_serve_flags& flags) {
  auto options = options_of(flags);
  if (!options) return fail(options.failure());
  std::unique_ptr<progress_bar> bar;
  const auto report =
      bench::run_bench(*options, {.on_phase =
                                      [&bar](const std::string& phase) {
                                        bar.reset();
                                        fmt::print(stderr, "troupe: {}\n", phase);
                                        bar = std::make_unique<progress_bar>(phase);
                                      },
                                  .on_fraction = [&bar](float done) { bar->show(done); }});
  bar.reset();
  if (!report) return fail(report.failure());
  for (const std::string& failure : report->failures)
    fmt::print(stderr, "troupe: a request failed: {}\n", failure);
  std::fputs(bench::report_text(*report).c_str(), stdout);
  if (!flags.result_file.empty()) {
    std::ofstream file(flags.result_file, std::ios::binary);
    file << bench::report_json(*report);
    if (!file.flush())
      return fail({errc::internal, fmt::format("cannot write {}", flags.result_file)});
  }
  return report->figures.failed == 0 ? exit_ok : exit_failure;
}

void add_load_flags(CLI::App& command, bench::bench_options& options) {
  command.add_option("--num-prompts", options.request_count, "requests")->capture_default_str();
  command.add_option("--max-concurrency", options.concurrency_max,
                     "requests in flight at once (default: no bound)");
  command
      .add_option("--request-rate", options.rate_per_s,
                  "arrivals a second; latencies then count from the arrival")
      ->capture_default_str();
  command
      .add_option("--burstiness", options.burstiness,
                  "of the arrivals; 1: a Poisson process; below: burstier")
      ->capture_default_str();
  command.add_option("--seed", options.seed, "of data, arrivals and lanes")->capture_default_str();
  command
      .add_option("--num-warmups", options.warmup_count,
                  "how often the first request is sent before the clock starts")
      ->capture_default_str();
  command.add_flag("--ignore-eos", options.generation.ignore_eos,
                   "go on after the end-of-text token");
  command.add_option("--temperature", options.generation.temperature,
                     "0: always the most probable token (default: the server's)");
  command.add_option("--deadline-ms", options.generation.deadline_ms,
                     "of every request, from its arrival (default: none)");
  command
      .add_option("--timeout", options.generation.silence_s_max,
                  "seconds without a token after which a request has failed")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
}

void add_data_flags(CLI::App& command, bench_serve_flags& flags) {
  bench::bench_options& options = flags.options;
  command.add_option("--model,-m", options.model_file, "the model's GGUF file, for its tokenizer")
      ->required();
  command.add_option("--dataset-name", flags.dataset_name, "random or sharegpt")
      ->check(CLI::IsMember({"random", "sharegpt"}))
      ->capture_default_str();
  command.add_option("--dataset-path", options.dataset_file, "the JSON file of sharegpt");
  command.add_option("--sharegpt-output-len", options.sharegpt.output_tokens,
                     "tokens to generate (default: as long as the answer)");
  command.add_option("--random-input-len", options.random.input_tokens, "tokens of a prompt")
      ->capture_default_str();
  command.add_option("--random-output-len", options.random.output_tokens, "tokens to generate")
      ->capture_default_str();
  command
      .add_option("--random-range-ratio", options.random.range_ratio,
                  "lengths vary by this part of them")
      ->capture_default_str();
  command
      .add_option("--random-prefix-len", options.random.prefix_tokens,
                  "further tokens, the same before all prompts")
      ->capture_default_str();
}

}  // namespace

void add_bench_serve(CLI::App& bench, chosen_command& chosen) {
  auto given = std::make_shared<bench_serve_flags>();
  auto* command = bench.add_subcommand(
      "serve", "Send a load to a running server, and print its figures as vLLM's client does");
  command
      ->add_option("--url", given->options.url,
                   "http://HOST:PORT of any OpenAI server, or tcp://HOST:PORT")
      ->capture_default_str();
  command->add_option("--api-key", given->options.api_key, "of the HTTP server");
  command->add_option("--served-model-name", given->options.served_model_name,
                      "default: the first that the server names");
  add_load_flags(*command, given->options);
  add_data_flags(*command, *given);
  command->add_option("--lanes", given->lanes,
                      "shares of the lanes: vip=0.1,realtime=0.3,async=0.6");
  command
      ->add_option("--percentile-metrics", given->percentile_metrics, "which latencies are printed")
      ->capture_default_str();
  command->add_option("--metric-percentiles", given->metric_percentiles, "which percentiles")
      ->capture_default_str();
  command->add_option("--goodput", given->goodput,
                      "what a good request stays within, in ms: ttft:200 tpot:50 e2el:5000");
  command->add_option("--result", given->result_file, "write the figures as JSON");
  command->callback([given, &chosen] { chosen = [given] { return bench_serve(*given); }; });
}

}  // namespace troupe::cli
