#include "runtime/simulate/way_section.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "config/load.hpp"

namespace troupe::simulate {
namespace {

constexpr double efficiency_min = 0.01;
constexpr std::string_view formats[] = {"bf16", "fp8", "int8", "int4"};
constexpr std::string_view of_cards = "a fitted cost was measured as it is";
constexpr std::string_view of_troupe = "static batches have none of Troupe's scheduler";

/// Keys of the server's configuration that a simulated server has, too.
constexpr std::string_view simulated_keys[] = {
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "max_batch_size",
    "max_num_batches",
    "batch_size",
    "block_size",
    "gpu_memory_utilization",
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "max_num_queued_reqs",
    "step_ms_max",
    "vip_step_ms_max",
    "lanes.vip.max_queued",
    "lanes.vip.reserved_fraction",
    "lanes.realtime.max_queued",
    "lanes.realtime.reserved_fraction",
    "lanes.realtime.max_wait_ms",
    "lanes.async.max_queued",
    "lanes.async.reserved_fraction",
    "lanes.async.max_delay_ms",
    "lanes.async.compose_ms_max",
};
/// Those that static batches have: what the cache holds.
constexpr std::string_view cache_keys[] = {"block_size", "gpu_memory_utilization"};

/// The keys right below `prefix`, by the server's rules.
void read_settings(section_reader& from, std::string_view prefix, way& to) {
  const bool is_static = to.policy == way_policy::static_batches;
  const auto acting = is_static ? std::span<const std::string_view>(cache_keys)
                                : std::span<const std::string_view>(simulated_keys);
  for (const config_key& key : config_schema()) {
    const std::string_view path = key.path;
    if (!path.starts_with(prefix) || path.find('.', prefix.size()) != path.npos) continue;
    const std::string_view name = path.substr(prefix.size());
    if (std::ranges::find(acting, path) != acting.end())
      from.configured(name, key, to.engine.server);
    else if (path.ends_with(".ttft_ms") || path.ends_with(".tpot_ms"))
      from.refuse_key(name, "the scenario's own lanes have the targets, for all ways");
    else
      from.refuse_key(name, is_static ? of_troupe : "nothing simulates it");
  }
}

void read_engine(section_reader& from, way& to) {
  const bool is_static = to.policy == way_policy::static_batches;
  read_settings(from, "", to);
  from.integer("block_count", to.engine.block_count, 0, limits::block_count_max);
  if (is_static)
    from.refuse_key("compose_replays_max", of_troupe).refuse_key("lanes", of_troupe);
  else
    from.integer("compose_replays_max", to.engine.compose_replays_max, 0, 1u << 20)
        .section("lanes", [&](section_reader& lanes) {
          for (const lane service : all_lanes) {
            const std::string prefix = fmt::format("lanes.{}.", to_string(service));
            lanes.section(to_string(service),
                          [&](section_reader& each) { read_settings(each, prefix, to); });
          }
        });
  if (to.engine.server.max_model_len == 0)
    from.refuse("max_model_len must be above 0: there is no model file that could decide it");
  if (const auto valid = validate(to.engine.server); !valid) from.refuse(valid.failure().message);
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
      .number("overhead_ms", overhead_ms, 0.0, most);
  if (to.policy == way_policy::troupe)
    from.number("intake_ms", intake_ms, 0.0, most)
        .number("reply_ms", reply_ms, 0.0, most)
        .number("noise", noise, 0.0, 2.0)
        .integer("noise_seed", noise_seed, 0, UINT32_MAX);
  else
    for (const std::string_view key : {"intake_ms", "reply_ms", "noise", "noise_seed"})
      from.refuse_key(key, "static batches are simulated without it");
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
      .number("usd_per_hour", to.usd_per_hour, 0.0, 1e6)
      .section("fitted", [&](section_reader& each) { read_fitted(each, to); });
  if (to.fitted)
    for (const std::string_view key : {"cards", "compute_efficiency", "memory_efficiency"})
      from.refuse_key(key, of_cards);
  else
    from.integer("cards", to.cards, 1, 1024)
        .number("compute_efficiency", to.compute_efficiency, efficiency_min, 1.0)
        .number("memory_efficiency", to.memory_efficiency, efficiency_min, 1.0);
  if (to.card.empty() == !to.fitted) from.refuse("name either a card or a fitted cost");
  if (to.fitted && !to.usd_per_hour) from.refuse("a fitted cost needs usd_per_hour");
  if (to.card.empty()) return;
  if (const auto found = find_accelerator(to.card); !found) from.refuse(found.failure().message);
}

void read_batches(section_reader& from, batch_settings& to) {
  from.integer("size", to.size, 1, limits::num_seqs_max)
      .number("wait_ms", to.wait_ms, 0.0, limits::simulated_wait_ms_max)
      .integer("reserved_tokens", to.reserved_tokens, 2, limits::model_len_max)
      .number("cold_start_ms", to.cold_start_ms, 0.0, limits::simulated_wait_ms_max);
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
  read("latency_ms", to.latency_ms, limits::simulated_wait_ms_max);
  read("requests_per_s", to.requests_per_s, 1e9);
}

void read_speculation(section_reader& from, speculation& to) {
  from.integer("candidates", to.candidates, 0, 64)
      .number("acceptance", to.acceptance, 0.0, 0.99)
      .number("draft_share", to.draft_share, 0.0, 1.0);
}

/// What only one of the policies knows.
void read_policy(section_reader& from, way& to) {
  static constexpr std::string_view lanes[] = {"vip", "realtime", "async"};
  if (to.policy == way_policy::static_batches) {
    from.section("batches", [&](section_reader& each) { read_batches(each, to.batches); })
        .refuse_key("one_lane", "static batches have no lanes")
        .refuse_key("asked_tokens", "static batches know how long answers will be");
    return;
  }
  lane service = lane::realtime;
  const bool is_one = from.has("one_lane");
  from.choice("one_lane", service, lanes)
      .integer("asked_tokens", to.asked_tokens, 0, limits::model_len_max)
      .refuse_key("batches", "they are of policy static");
  if (is_one) to.one_lane = service;
}

/// Of numbers in the card's memory, instead of the model's.
void read_formats(section_reader& from, way& to) {
  if (to.fitted) {
    from.refuse_key("weights", of_cards).refuse_key("kv_bytes", of_cards);
    return;
  }
  number_format weights = number_format::bf16;
  const bool has_weights = from.has("weights");
  from.choice("weights", weights, formats).number("kv_bytes", to.kv_bytes, 0.1, 8.0);
  if (has_weights) to.weights = weights;
}

}  // namespace

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

way read_way(section_reader& from, const std::array<lane_config, lane_count>& lanes) {
  static constexpr std::string_view policies[] = {"troupe", "static"};
  way made;
  made.engine.server.lanes = lanes;
  from.text("name", made.name)
      .text("title", made.title)
      .choice("policy", made.policy, policies)
      .section("hardware", [&](section_reader& each) { read_hardware(each, made); })
      .section("speculation",
               [&](section_reader& each) { read_speculation(each, made.speculative); })
      .section("engine", [&](section_reader& each) { read_engine(each, made); })
      .section("published", [&](section_reader& each) { read_published(each, made.published); })
      .texts("notes", made.notes);
  read_policy(from, made);
  read_formats(from, made);
  if (made.title.empty()) made.title = made.name;
  if (made.name.empty()) from.refuse("a way needs a name");
  if (!from.has("hardware")) from.refuse("a way needs hardware");
  return made;
}

}  // namespace troupe::simulate
