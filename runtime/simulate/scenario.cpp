#include "runtime/simulate/scenario.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "config/limits.hpp"
#include "runtime/simulate/way_section.hpp"

namespace troupe::simulate {
namespace {

constexpr double tokens_max = limits::model_len_max;
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
      .number("turnaround_ms", turnaround_ms, 0.0, limits::simulated_wait_ms_max);
  to.clients.turnaround = from_ms(turnaround_ms);
  if (kind == process::at_once && rate != 0.0) from.refuse("at_once has no rate_per_s");
  if (kind != process::at_once && rate == 0.0) from.refuse("this process needs rate_per_s");
  if (kind != process::bursty && to.load.arrivals.burstiness != 1.0)
    from.refuse("burstiness is for the process bursty");
  if (turnaround_ms != 0.0 && to.clients.concurrency_max == 0)
    from.refuse("turnaround_ms is of clients that wait for replies: set concurrency_max");
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
  if (to.kind == length_kind::fixed && to.sigma != 0.0)
    from.refuse("sigma is for the kind lognormal");
}

void read_lengths(section_reader& from, scenario& to) {
  static constexpr std::string_view sources[] = {"drawn", "sharegpt", "trace"};
  from.choice("source", to.lengths, sources);
  if (to.lengths == length_source::drawn)
    from.section("prompt", [&](section_reader& each) { read_distribution(each, to.load.prompt); })
        .section("output", [&](section_reader& each) { read_distribution(each, to.load.output); })
        .refuse_key("file", "lengths are drawn: set source");
  else
    from.text("file", to.file)
        .refuse_key("prompt", "lengths are the file's")
        .refuse_key("output", "lengths are the file's");
}

void read_prefixes(section_reader& from, shared_prefixes& to) {
  from.integer("groups", to.groups, 0, 1u << 20)
      .number("share", to.share, 0.0, 1.0)
      .integer("tokens", to.tokens, 0, limits::model_len_max / 2);
  if (to.groups != 0 && to.tokens == 0) from.refuse("prefixes need tokens");
}

/// Prefixes belong to prompts, which are there only once both have been read.
void check_prefixes(section_reader& from, const scenario& what) {
  const shared_prefixes& prefixes = what.load.prefixes;
  if (prefixes.groups == 0) return;
  if (what.lengths == length_source::trace) from.refuse("prefixes: prompts of a trace have none");
  if (what.lengths == length_source::drawn && prefixes.tokens >= what.load.prompt.max_tokens)
    from.refuse(fmt::format(
        "prefixes.tokens ({}) must be below lengths.prompt.max_tokens ({}): the prompt goes on",
        prefixes.tokens, what.load.prompt.max_tokens));
}

/// A target that the server has, too: by its rules, and for the simulated servers.
void read_target(section_reader& from, lane service, std::string_view name, server_config& server,
                 std::optional<double>& target) {
  const auto* key = find_config_key(fmt::format("lanes.{}.{}", to_string(service), name));
  TROUPE_CHECK(key != nullptr);
  const bool is_set = from.has(name);
  from.configured(name, *key, server);
  const std::uint32_t ms = *std::get<std::uint32_t*>(key->field(server));
  if (is_set && ms != 0) target = ms;
}

void read_lane(section_reader& from, lane service, scenario& to, server_config& server) {
  constexpr double most = limits::simulated_wait_ms_max;
  lane_targets& targets = to.targets[to_index(service)];
  allowed_time& allowed = to.load.lane_allowed[to_index(service)];
  read_target(from, service, "ttft_ms", server, targets.ttft_ms);
  read_target(from, service, "tpot_ms", server, targets.tpot_ms);
  from.number("share", to.load.lane_share[to_index(service)], 0.0, 1.0)
      .number("e2e_ms", targets.e2e_ms, 0.0, most)
      .number("deadline_ms", allowed.ms_min, 0.0, most);
  allowed.ms_max = allowed.ms_min;
  from.number("deadline_ms_max", allowed.ms_max, 0.0, most);
  if (allowed.ms_max < allowed.ms_min || (allowed.ms_min == 0.0 && allowed.ms_max != 0.0))
    from.refuse("deadlines are drawn from deadline_ms to deadline_ms_max");
}

void read_lanes(section_reader& from, scenario& to, server_config& server) {
  auto& shares = to.load.lane_share;
  const auto alone = std::exchange(shares, {});
  for (const lane each : all_lanes)
    from.section(to_string(each),
                 [&](section_reader& section) { read_lane(section, each, to, server); });
  const double sum = shares[0] + shares[1] + shares[2];
  if (sum == 0.0)
    shares = alone;
  else if (std::abs(sum - 1.0) > 1e-6)
    from.refuse("the shares of the lanes must sum to 1");
}

void add_way(way made, section_reader& from, scenario& to) {
  if (std::ranges::find(to.ways, made.name, &way::name) != to.ways.end())
    from.refuse(fmt::format("a way before it is called {}, too", made.name));
  to.ways.push_back(std::move(made));
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
  server_config server;  // of it the lanes, whose targets are the scenario's
  from.text("name", to.name)
      .text("about", to.about)
      .integer("seed", seed, 0, UINT32_MAX)
      .integer("requests", to.load.request_count, 1, limits::simulated_request_count_max)
      .section("arrivals", [&](section_reader& each) { read_arrivals(each, to); })
      .section("lengths", [&](section_reader& each) { read_lengths(each, to); })
      .section("prefixes", [&](section_reader& each) { read_prefixes(each, to.load.prefixes); })
      .section("lanes", [&](section_reader& each) { read_lanes(each, to, server); })
      .section("model", [&](section_reader& each) { read_model(each, to.model); })
      .list("ways", limits::scenario_way_count_max,
            [&](section_reader& each) { add_way(read_way(each, server.lanes), each, to); })
      .list("published", list_count_max, [&](section_reader& each) { read_claim(each, to); })
      .list("assumptions", list_count_max, [&](section_reader& each) {
        assumption made;
        each.text("about", made.about).text("source", made.source);
        to.assumptions.push_back(std::move(made));
      });
  to.seed = seed;
  from.check_keys();
  check_prefixes(from, to);
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
