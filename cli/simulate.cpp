// `troupe simulate`: a scenario on virtual time; figures to stdout, progress to stderr.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "bench/serve/arrivals.hpp"
#include "bench/serve/sharegpt.hpp"
#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "config/limits.hpp"
#include "runtime/model/gguf.hpp"
#include "runtime/simulate/report.hpp"
#include "runtime/text/tokenizer.hpp"

namespace troupe::cli {

namespace {

struct simulate_flags {
  std::string scenario_file, json_file, html_file, dataset_file, model_file;
  std::optional<std::uint32_t> seed, request_count;
};

int fail(const error& failure) {
  fmt::print(stderr, "troupe: {}\n", failure.message);
  return exit_code_of(failure);
}

result<std::string> read_file(const std::filesystem::path& file, std::uint64_t bytes_max) {
  std::error_code failure;
  const std::uint64_t bytes = std::filesystem::file_size(file, failure);
  if (failure)
    return error{errc::invalid_argument,
                 fmt::format("cannot read {}: {}", file.string(), failure.message())};
  if (bytes > bytes_max)
    return error{errc::invalid_argument, fmt::format("{} has {} bytes, at most {} are read",
                                                     file.string(), bytes, bytes_max)};
  std::string text(bytes, '\0');
  std::ifstream stream(file, std::ios::binary);
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return text;
}

result<void> write_file(const std::string& file, const std::string& text) {
  if (file.empty()) return {};
  std::ofstream stream(file, std::ios::binary);
  stream << text;
  if (!stream.flush()) return error{errc::internal, fmt::format("cannot write {}", file)};
  return {};
}

/// The requests that `troupe bench serve` makes of the same file, model, count and seed.
result<std::vector<simulate::token_lengths>> sharegpt_lengths(const simulate::scenario& what,
                                                              const std::string& data_file,
                                                              const std::string& model_file) {
  if (data_file.empty() || model_file.empty())
    return error{
        errc::invalid_argument,
        "lengths of ShareGPT need --dataset-path and --model, a GGUF file for its tokenizer"};
  TROUPE_TRY(auto file, gguf_file::open(model_file));
  TROUPE_TRY(auto tokens, tokenizer::from_gguf(file));
  TROUPE_TRY(auto conversations, bench::read_sharegpt(data_file));
  const auto count = [&tokens](std::string_view text) {
    return tokens->encode(text, {.parse_special = true, .add_special = true}).size();
  };
  TROUPE_TRY(const auto work,
             bench::sample_sharegpt(
                 std::move(conversations),
                 {.request_count = what.load.request_count, .seed = what.seed, .output_tokens = {}},
                 count));
  std::vector<simulate::token_lengths> lengths;
  for (const bench::work_item& each : work)
    lengths.push_back({each.prompt_tokens, each.output_tokens});
  return lengths;
}

/// Flags that would do nothing with this scenario.
result<void> check_flags(const simulate::scenario& what, const simulate_flags& flags) {
  const auto refuse = [](std::string_view flag, std::string_view why) -> result<void> {
    return error{errc::invalid_argument, fmt::format("{} does nothing here: {}", flag, why)};
  };
  if (!flags.dataset_file.empty() && what.lengths == simulate::length_source::drawn)
    return refuse("--dataset-path", "the scenario draws its lengths");
  if (!flags.model_file.empty() && what.lengths != simulate::length_source::sharegpt)
    return refuse("--model", "only texts of ShareGPT need a tokenizer");
  if (flags.request_count && what.lengths == simulate::length_source::trace)
    return refuse("--requests", "all requests of the trace are served");
  return {};
}

result<simulate::scenario_data> read_data(const simulate::scenario& what,
                                          const simulate_flags& flags) {
  TROUPE_TRY_VOID(check_flags(what, flags));
  simulate::scenario_data data;
  std::string file = flags.dataset_file;
  if (file.empty() && !what.file.empty())
    file = (std::filesystem::path(flags.scenario_file).parent_path() / what.file).string();
  if (what.lengths == simulate::length_source::sharegpt) {
    TROUPE_TRY(data.lengths, sharegpt_lengths(what, file, flags.model_file));
    data.arrivals_s = bench::arrival_times_s({.request_count = what.load.request_count,
                                              .rate_per_s = what.load.arrivals.rate_per_s,
                                              .burstiness = what.load.arrivals.burstiness,
                                              .seed = what.seed});
  } else if (what.lengths == simulate::length_source::trace) {
    if (file.empty())
      return error{errc::invalid_argument, "a trace needs lengths.file or --dataset-path"};
    TROUPE_TRY(const std::string text, read_file(file, limits::trace_bytes_max));
    TROUPE_TRY(data.trace, simulate::parse_trace(text, file));
  }
  return data;
}

result<void> run(const simulate_flags& flags) {
  TROUPE_TRY(const std::string yaml, read_file(flags.scenario_file, limits::scenario_bytes_max));
  TROUPE_TRY(auto what, simulate::parse_scenario(yaml, flags.scenario_file));
  if (flags.seed) what.seed = *flags.seed;
  if (flags.request_count) what.load.request_count = *flags.request_count;
  TROUPE_TRY(const auto data, read_data(what, flags));
  TROUPE_TRY(const auto report, simulate::simulate(what, data, [](const std::string& name) {
               fmt::print(stderr, "troupe: simulating {}\n", name);
             }));
  std::fputs(simulate::report_table(what, report).c_str(), stdout);
  TROUPE_TRY_VOID(write_file(flags.json_file, simulate::report_json(what, report)));
  return write_file(flags.html_file, simulate::report_html(what, report));
}

}  // namespace

void add_simulate(CLI::App& parser, chosen_command& chosen) {
  auto* command = parser.add_subcommand(
      "simulate", "Serve a scenario on virtual time: latency, utilization and cost");
  auto flags = std::make_shared<simulate_flags>();
  command->add_option("scenario", flags->scenario_file, "the YAML file (docs/simulate.md)")
      ->required();
  command->add_option("--seed", flags->seed, "instead of the scenario's")
      ->check(CLI::Range(std::uint32_t{0}, UINT32_MAX));
  command->add_option("--requests", flags->request_count, "instead of the scenario's")
      ->check(CLI::Range(1u, limits::simulated_request_count_max));
  command->add_option("--json", flags->json_file, "write the figures here");
  command->add_option("--report", flags->html_file, "write a page with plots here");
  command->add_option("--dataset-path", flags->dataset_file,
                      "the ShareGPT or trace file, instead of the scenario's");
  command->add_option("--model,-m", flags->model_file,
                      "a GGUF file, whose tokenizer counts ShareGPT's tokens");
  command->callback([flags, &chosen] {
    chosen = [flags] {
      const auto outcome = run(*flags);
      return outcome ? exit_ok : fail(outcome.failure());
    };
  });
}

}  // namespace troupe::cli
