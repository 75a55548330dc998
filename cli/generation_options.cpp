#include "cli/generation_options.hpp"

#include <chrono>
#include <cstdio>
#include <optional>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "actors/embedded/embedded.hpp"
#include "cli/exit_codes.hpp"
#include "cli/progress_bar.hpp"
#include "clients/cpp/client.hpp"

namespace troupe::cli {

void add_generation_flags(CLI::App& command, generation_options& options) {
  submit& request = options.request;
  command.add_option("--zmq", options.endpoint, "endpoint of a running server")
      ->capture_default_str();
  command.add_option("--model,-m", options.model, "a GGUF file: generate here, without a server");
  command
      .add_option("--threads", options.threads,
                  "compute threads with --model (0: one for each logical CPU)")
      ->capture_default_str();
  command.add_option("--lane", options.lane_name, "vip, realtime or async")
      ->check(CLI::IsMember({"vip", "realtime", "async"}))
      ->capture_default_str();
  command.add_option("--max-tokens", request.max_tokens, "tokens to generate (default: what fits)");
  command.add_option("--temperature", request.temperature, "0: always the most probable token")
      ->capture_default_str();
  command.add_option("--top-p", request.top_p, "smallest set with this probability")
      ->capture_default_str();
  command.add_option("--top-k", request.top_k, "the k most probable tokens; 0: all")
      ->capture_default_str();
  command.add_option("--min-p", request.min_p, "relative to the most probable token")
      ->capture_default_str();
  command
      .add_option("--repetition-penalty", request.repetition_penalty, "above 1: fewer repetitions")
      ->capture_default_str();
  command.add_option("--seed", request.seed, "the same seed draws the same tokens");
  command.add_option("--stop", request.stop, "end at this text (may be repeated)");
  command.add_flag("--ignore-eos", request.ignore_eos, "go on after the end-of-text token");
  command.add_flag("--stats", options.show_stats, "print TTFT and tokens/s to stderr");
}

namespace {

using steady = std::chrono::steady_clock;

/// Prints deltas and keeps the times of the first and the last.
class printer {
 public:
  void take(const delta& part) {
    if (!first_) first_ = steady::now();
    token_count_ += part.token_ids.size();
    std::fwrite(part.text.data(), 1, part.text.size(), stdout);
    std::fflush(stdout);
    text_ += part.text;
  }

  printed_generation close(const result<finished>& outcome, bool show_stats) {
    if (!text_.empty() && text_.back() != '\n') std::fputc('\n', stdout);
    std::fflush(stdout);
    if (!outcome) {
      fmt::print(stderr, "troupe: {}\n", outcome.failure().message);
      return {exit_code_of(outcome.failure()), text_};
    }
    if (show_stats && first_) {
      const auto now = steady::now();
      const double ttft_ms = std::chrono::duration<double, std::milli>(*first_ - began_).count();
      const double decode_s = std::chrono::duration<double>(now - *first_).count();
      const double rate =
          token_count_ > 1 && decode_s > 0 ? static_cast<double>(token_count_ - 1) / decode_s : 0.0;
      fmt::print(stderr, "[{} prompt tokens, {} generated; TTFT {:.0f} ms, then {:.1f} tokens/s]\n",
                 outcome.value().prompt_tokens, outcome.value().completion_tokens, ttft_ms, rate);
    }
    return {exit_ok, text_};
  }

 private:
  steady::time_point began_ = steady::now();
  std::optional<steady::time_point> first_;
  std::size_t token_count_ = 0;
  std::string text_;
};

}  // namespace

generation_place::generation_place(const generation_options& options) : options_(options) {}
generation_place::~generation_place() = default;

printed_generation generation_place::generate_and_print(const submit& request) {
  const lane service = parse_lane(options_.lane_name).value_or(lane::realtime);
  return options_.model.empty() ? generate_there(request, service)
                                : generate_here(request, service);
}

printed_generation generation_place::generate_here(const submit& request, lane service) {
  if (engine_ == nullptr) {
    progress_bar bar("loading");
    spdlog::set_level(spdlog::level::warn);
    server_config config;
    config.model = options_.model;
    config.threads = static_cast<std::uint32_t>(options_.threads);
    auto opened =
        embedded_engine::open(config, {.on_loading = [&bar](float done) { bar.show(done); },
                                       .on_fatal = {},
                                       .wrap_executor = {}});
    if (!opened) {
      fmt::print(stderr, "troupe: {}\n", opened.failure().message);
      return {exit_code_of(opened.failure()), {}};
    }
    engine_ = std::make_unique<embedded_engine>(std::move(*opened));
  }
  printer output;
  auto started = engine_->generate(request, service);
  if (!started) return output.close(started.failure(), false);
  while (auto part = started->next()) output.take(*part);
  return output.close(started->outcome(), options_.show_stats);
}

printed_generation generation_place::generate_there(const submit& request, lane service) {
  auto client = wire_client::connect({.endpoint = options_.endpoint});
  printer output;
  if (!client) return output.close(client.failure(), false);
  const auto outcome =
      (*client)->generate(request, service, [&output](const envelope_header&, const delta& part) {
        output.take(part);
        return true;
      });
  return output.close(outcome, options_.show_stats);
}

}  // namespace troupe::cli
