#include "runtime/simulate/scenario.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "config/limits.hpp"
#include "runtime/simulate/section_reader.hpp"

namespace troupe::simulate {
namespace {

constexpr double tokens_max = limits::model_len_max;
constexpr double day_ms = 24.0 * 3600e3;
constexpr double efficiency_min = 0.01;
constexpr std::size_t list_count_max = 256;

void read_arrivals(section_reader& from, scenario& to) {
  enum class process : std::uint8_t { at_once, poisson, bursty };
  static constexpr std::string_view processes[] = {"at_once", "poisson", "bursty"};
  process kind = process::at_once;
  double rate = 0.0, turnaround_ms = 0.0;
  from.choice("process", kind, processes)
      .number("rate_per_s", rate, 1e-6, 1e9)
      .number("burstiness", to.load.arrivals.burstiness, 0.01, 100.0)
      .integer("concurrency_max", to.clients.concurrency_max, 0, limits::num_queued_reqs_max)
      .number("turnaround_ms", turnaround_ms, 0.0, day_ms);
  to.clients.turnaround = from_ms(turnaround_ms);
  if (kind == process::at_once && rate != 0.0) from.refuse("at_once has no rate_per_s");
  if (kind != process::at_once && rate == 0.0) from.refuse("this process needs rate_per_s");
  if (kind != process::bursty && to.load.arrivals.burstiness != 1.0)
    from.refuse("burstiness is for the process bursty");
  if (rate != 0.0) to.load.arrivals.rate_per_s = rate;
}

void read_distribution(section_reader& from, length_distribution& to) {
  static constexpr std::string_view kinds[] = {"fixed", "lognormal"};
  from.choice("kind", to.kind, kinds)
      .number("mean_tokens", to.mean_tokens, 1.0, tokens_max)
      .number("sigma", to.sigma, 0.0, 5.0)
      .integer("min_tokens", to.min_tokens, 1, limits::model_len_max)
      .integer("max_tokens", to.max_tokens, 1, limits::model_len_max);
  if (to.min_tokens > to.max_tokens) from.refuse("min_tokens is above max_tokens");
}

void read_lengths(section_reader& from, scenario& to) {
  static constexpr std::string_view sources[] = {"drawn", "sharegpt", "trace"};
  from.choice("source", to.lengths, sources)
      .text("file", to.file)
      .section("prompt", [&](section_reader& each) { read_distribution(each, to.load.prompt); })
      .section("output", [&](section_reader& each) { read_distribution(each, to.load.output); });
}

void read_prefixes(section_reader& from, shared_prefixes& to) {
  from.integer("groups", to.groups, 0, 1u << 20)
      .number("share", to.share, 0.0, 1.0)
      .integer("tokens", to.tokens, 0, limits::model_len_max / 2);
}

void read_lane(section_reader& from, double& share, lane_targets& targets, allowed_time& allowed) {
  from.number("share", share, 0.0, 1.0)
      .number("ttft_ms", targets.ttft_ms, 0.0, day_ms)
      .number("tpot_ms", targets.tpot_ms, 0.0, day_ms)
      .number("e2e_ms", targets.e2e_ms, 0.0, day_ms)
      .number("deadline_ms", allowed.ms_min, 0.0, day_ms);
  allowed.ms_max = allowed.ms_min;
  from.number("deadline_ms_max", allowed.ms_max, 0.0, day_ms);
  if (allowed.ms_max < allowed.ms_min || (allowed.ms_min == 0.0 && allowed.ms_max != 0.0))
    from.refuse("deadlines are drawn from deadline_ms to deadline_ms_max");
}

void read_lanes(section_reader& from, scenario& to) {
  std::array<double, lane_count> shares{};
  for (const lane each : all_lanes) {
    from.section(to_string(each), [&](section_reader& section) {
      const std::size_t place = to_index(each);
      read_lane(section, shares[place], to.targets[place], to.load.lane_allowed[place]);
    });
  }
  const double sum = shares[0] + shares[1] + shares[2];
  if (sum == 0.0) return;
  if (std::abs(sum - 1.0) > 1e-6) from.refuse("the shares of the lanes must sum to 1");
  to.load.lane_share = shares;
}

constexpr std::string_view formats[] = {"bf16", "fp8", "int8", "int4"};

void read_model(section_reader& from, model_shape& to) {
  double billions = to.parameters / 1e9;
  from.text("name", to.name)
      .number("parameters_billion", billions, 0.0, 1e4)
      .integer("layers", to.layers, 1, limits::model_layer_count_max)
      .integer("hidden", to.hidden, 1, limits::model_hidden_size_max)
      .integer("heads", to.heads, 1, limits::model_head_count_max)
      .integer("kv_heads", to.kv_heads, 1, limits::model_head_count_max)
      .integer("head_dim", to.head_dim, 1, limits::model_head_dim_max)
      .integer("vocab", to.vocab, 1, limits::model_vocab_size_max)
      .choice("weights", to.weights, formats)
      .number("kv_bytes", to.kv_bytes, 0.1, 8.0);
  to.parameters = billions * 1e9;
}

/// The numbers of cost_profile under their names, which unlike there may be 0, and what passes
/// around a step.
void read_fitted(section_reader& from, way& to) {
  constexpr double most = 1e6;
  cost_profile profile{0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
  double overhead_ms = 0.0, noise = 0.0, intake_ms = 0.0, reply_ms = 0.0;
  std::uint32_t noise_seed = 0;
  from.number("step_ms", profile.step_ms, 0.0, most)
      .number("row_tile_ms", profile.row_tile_ms, 0.0, most)
      .number("row_ms", profile.row_ms, 0.0, most)
      .number("logit_row_ms", profile.logit_row_ms, 0.0, most)
      .number("decode_pair_us", profile.decode_pair_us, 0.0, most)
      .number("prefill_pair_us", profile.prefill_pair_us, 0.0, most)
      .number("overhead_ms", overhead_ms, 0.0, most)
      .number("intake_ms", intake_ms, 0.0, most)
      .number("reply_ms", reply_ms, 0.0, most)
      .number("noise", noise, 0.0, 2.0)
      .integer("noise_seed", noise_seed, 0, UINT32_MAX);
  to.fitted = measured_cost(profile);
  to.fitted->between_ms = overhead_ms;
  to.fitted->noise = noise;
  to.fitted->noise_seed = noise_seed;
  to.path = {from_ms(intake_ms), from_ms(reply_ms)};
  if (to.fitted->compute.step + overhead_ms <= 0.0)
    from.refuse("a step must take time: set step_ms");
}

void read_hardware(section_reader& from, way& to) {
  from.text("card", to.card)
      .integer("cards", to.cards, 1, 1024)
      .number("usd_per_hour", to.usd_per_hour, 0.0, 1e6)
      .number("compute_efficiency", to.compute_efficiency, efficiency_min, 1.0)
      .number("memory_efficiency", to.memory_efficiency, efficiency_min, 1.0)
      .section("fitted", [&](section_reader& each) { read_fitted(each, to); });
  if (to.card.empty() == !to.fitted) from.refuse("name either a card or a fitted cost");
  if (to.fitted && !to.usd_per_hour) from.refuse("a fitted cost needs usd_per_hour");
  if (to.card.empty()) return;
  if (const auto found = find_accelerator(to.card); !found) from.refuse(found.failure().message);
}

/// Keys of docs/config.md, each for the lanes that it is for there.
void read_lane_settings(section_reader& from, std::array<lane_config, lane_count>& to) {
  constexpr std::uint32_t day = 24u * 3'600'000u;
  const auto shared = [&to](section_reader& each, std::size_t lane) -> section_reader& {
    return each.number("reserved_fraction", to[lane].reserved_fraction, 0.0, 0.9)
        .integer("max_queued", to[lane].max_queued, 0, limits::num_queued_reqs_max);
  };
  from.section("vip", [&](section_reader& each) { shared(each, vip_lane); })
      .section("realtime",
               [&](section_reader& each) {
                 shared(each, realtime_lane)
                     .integer("max_wait_ms", to[realtime_lane].max_wait_ms, 0, day);
               })
      .section("async", [&](section_reader& each) {
        shared(each, async_lane)
            .integer("max_delay_ms", to[async_lane].max_delay_ms, 0, day)
            .integer("compose_ms_max", to[async_lane].compose_ms_max, 0, 1'000);
      });
}

void read_engine(section_reader& from, engine_settings& to) {
  constexpr std::uint32_t any = 1u << 30;
  server_config& server = to.server;
  from.integer("max_model_len", server.max_model_len, 2, limits::model_len_max)
      .integer("max_num_seqs", server.max_num_seqs, 1, limits::num_seqs_max)
      .integer("max_num_batched_tokens", server.max_num_batched_tokens, 1, any)
      .integer("max_batch_size", server.max_batch_size, 1, any)
      .integer("max_num_queued_reqs", server.max_num_queued_reqs, 1, limits::num_queued_reqs_max)
      .integer("block_size", server.block_size, 1, limits::block_tokens_max)
      .integer("block_count", to.block_count, 0, limits::block_count_max)
      .number("gpu_memory_utilization", server.gpu_memory_utilization, 0.01, 1.0)
      .flag("enable_prefix_caching", server.enable_prefix_caching)
      .flag("enable_chunked_prefill", server.enable_chunked_prefill)
      .integer("step_ms_max", server.step_ms_max, 0, any)
      .integer("vip_step_ms_max", server.vip_step_ms_max, 0, any)
      .integer("compose_replays_max", to.compose_replays_max, 0, 1u << 20)
      .section("lanes", [&](section_reader& each) { read_lane_settings(each, server.lanes); });
  double reserved = 0.0;
  for (const lane_config& each : server.lanes) reserved += each.reserved_fraction;
  if (reserved > 0.9) from.refuse("the lanes reserve more than 0.9 of the engine together");
}

void read_batches(section_reader& from, batch_settings& to) {
  from.integer("size", to.size, 1, limits::num_seqs_max)
      .number("wait_ms", to.wait_ms, 0.0, day_ms)
      .integer("reserved_tokens", to.reserved_tokens, 2, limits::model_len_max)
      .number("cold_start_ms", to.cold_start_ms, 0.0, day_ms);
}

void read_published(section_reader& from, published_figures& to) {
  const auto read = [&from](std::string_view key, published_figures::figure& figure, double most) {
    from.section(key, [&](section_reader& each) {
      each.number("value", figure.value, 0.0, most).text("why", figure.why);
      if (!figure.value || figure.why.empty())
        each.refuse("a published figure needs a value, and why the simulated one differs");
    });
  };
  read("usd_per_million_requests", to.usd_per_million_requests, 1e12);
  read("latency_ms", to.latency_ms, day_ms);
  read("requests_per_s", to.requests_per_s, 1e9);
}

void read_speculation(section_reader& from, speculation& to) {
  from.integer("candidates", to.candidates, 0, 64)
      .number("acceptance", to.acceptance, 0.0, 0.99)
      .number("draft_share", to.draft_share, 0.0, 1.0);
}

way read_way(section_reader& from) {
  static constexpr std::string_view policies[] = {"troupe", "static"};
  static constexpr std::string_view lanes[] = {"vip", "realtime", "async"};
  way made;
  lane one_lane = lane::realtime;
  const bool has_one_lane = from.has("one_lane");
  number_format weights = number_format::bf16;
  const bool has_weights = from.has("weights");
  from.text("name", made.name)
      .text("title", made.title)
      .choice("policy", made.policy, policies)
      .section("hardware", [&](section_reader& each) { read_hardware(each, made); })
      .choice("weights", weights, formats)
      .number("kv_bytes", made.kv_bytes, 0.1, 8.0)
      .section("speculation",
               [&](section_reader& each) { read_speculation(each, made.speculative); })
      .section("engine", [&](section_reader& each) { read_engine(each, made.engine); })
      .section("batches", [&](section_reader& each) { read_batches(each, made.batches); })
      .section("published", [&](section_reader& each) { read_published(each, made.published); })
      .choice("one_lane", one_lane, lanes)
      .integer("asked_tokens", made.asked_tokens, 0, limits::model_len_max)
      .texts("notes", made.notes);
  if (has_one_lane) made.one_lane = one_lane;
  if (has_weights) made.weights = weights;
  if (made.title.empty()) made.title = made.name;
  if (made.name.empty()) from.refuse("a way needs a name");
  if (!from.has("hardware")) from.refuse("a way needs hardware");
  return made;
}

void read_claim(section_reader& from, scenario& to) {
  published_claim claim;
  from.text("way", claim.way)
      .text("against", claim.against)
      .text("figure", claim.figure)
      .number("percent", claim.percent, -1e6, 1e6)
      .text("why", claim.why);
  const auto is_way = [&](const std::string& name) {
    return std::ranges::find(to.ways, name, &way::name) != to.ways.end();
  };
  if (!is_way(claim.way) || (!claim.against.empty() && !is_way(claim.against)))
    from.refuse("way and against must name ways of this scenario");
  if (claim.why.empty()) from.refuse("a published figure needs why: how the two relate");
  if (std::ranges::find(claim_figures(), claim.figure) == claim_figures().end())
    from.refuse(fmt::format("figure must be one of {}", fmt::join(claim_figures(), ", ")));
  to.claims.push_back(std::move(claim));
}

void read_scenario(section_reader& from, scenario& to) {
  std::uint32_t seed = 0;
  from.text("name", to.name)
      .text("about", to.about)
      .integer("seed", seed, 0, UINT32_MAX)
      .integer("requests", to.load.request_count, 1, limits::simulated_request_count_max)
      .section("arrivals", [&](section_reader& each) { read_arrivals(each, to); })
      .section("lengths", [&](section_reader& each) { read_lengths(each, to); })
      .section("prefixes", [&](section_reader& each) { read_prefixes(each, to.load.prefixes); })
      .section("lanes", [&](section_reader& each) { read_lanes(each, to); })
      .section("model", [&](section_reader& each) { read_model(each, to.model); })
      .list("ways", limits::scenario_way_count_max,
            [&](section_reader& each) { to.ways.push_back(read_way(each)); })
      .list("published", list_count_max, [&](section_reader& each) { read_claim(each, to); })
      .list("assumptions", list_count_max, [&](section_reader& each) {
        assumption made;
        each.text("about", made.about).text("source", made.source);
        to.assumptions.push_back(std::move(made));
      });
  to.seed = seed;
  from.check_keys();
  if (to.ways.empty()) from.refuse("there is no way to serve: list them under ways");
  const bool needs_model =
      std::ranges::any_of(to.ways, [](const way& each) { return !each.card.empty(); });
  if (needs_model && (to.model.parameters == 0.0 || to.model.layers == 0 || to.model.hidden == 0 ||
                      to.model.heads == 0 || to.model.kv_heads == 0 || to.model.head_dim == 0))
    from.refuse(
        "a card needs the model's parameters_billion, layers, hidden, heads, kv_heads and "
        "head_dim");
}

struct named_share {
  std::string_view name;
  double run_figures::*share;
};
constexpr named_share shares[] = {
    {"padding", &run_figures::padding},
    {"utilization", &run_figures::utilization},
    {"startup", &run_figures::startup},
    {"kv_fragmentation", &run_figures::kv_fragmentation},
    {"prefix_hit", &run_figures::prefix_hit},
    {"batch_fill", &run_figures::batch_fill},
    {"busy", &run_figures::busy},
};

}  // namespace

engine_settings::engine_settings() {
  server.max_model_len = 4096;
  server.max_num_queued_reqs = limits::num_queued_reqs_max;
}

std::span<const std::string_view> claim_figures() {
  static const auto names = [] {
    std::array<std::string_view, std::size(shares)> made;
    std::ranges::transform(shares, made.begin(), &named_share::name);
    return made;
  }();
  return names;
}

std::optional<double> claim_figure(const run_figures& figures, std::string_view name) {
  const auto found = std::ranges::find(shares, name, &named_share::name);
  if (found == std::end(shares)) return std::nullopt;
  return figures.*(found->share) * 100.0;
}

result<scenario> parse_scenario(std::string_view yaml, std::string_view name) {
  if (yaml.size() > limits::scenario_bytes_max)
    return error{errc::invalid_argument,
                 fmt::format("{}: is longer than {} bytes", name, limits::scenario_bytes_max)};
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(yaml));
    if (documents.size() != 1)
      return error{errc::invalid_argument, fmt::format("{}: must hold one document", name)};
    section_reader reader(documents.front(), "", name);
    scenario made;
    read_scenario(reader, made);
    TROUPE_TRY_VOID(reader.finish());
    return made;
  } catch (const YAML::Exception& problem) {
    return error{errc::invalid_argument,
                 fmt::format("{}:{}: {}", name, problem.mark.line + 1, problem.msg)};
  }
}

}  // namespace troupe::simulate
