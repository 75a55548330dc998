// A scenario: one load, and the ways of serving it that are compared. Read from YAML
// (docs/simulate.md); every assumption stands in the file, with its source.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "kernels/base/result.hpp"
#include "runtime/simulate/figures.hpp"
#include "runtime/simulate/hardware.hpp"
#include "runtime/simulate/workload.hpp"

namespace troupe::simulate {

enum class way_policy : std::uint8_t { troupe, static_batches };

/// Settings of Troupe's scheduler that a scenario may change.
struct engine_settings {
  engine_settings();
  server_config server;  ///< the server's defaults, but for max_model_len and max_num_queued_reqs
  std::uint32_t block_count = 0;  ///< 0: what fits beside the weights
  /// Predictions of one search of the composer: about as many as a server makes in compose_ms_max.
  std::uint32_t compose_replays_max = 100;
};

struct batch_settings {
  std::uint32_t size = 32;
  double wait_ms = 50.0;
  std::uint32_t reserved_tokens = 4096;
  double cold_start_ms = 0.0;  ///< before each batch
};

/// Figures that somebody published for a way; absent: none.
struct published_figures {
  struct figure {
    std::optional<double> value;
    std::string why;  ///< how it relates to the simulated one
  };
  figure usd_per_million_requests, latency_ms, requests_per_s;
  [[nodiscard]] bool any() const {
    return usd_per_million_requests.value || latency_ms.value || requests_per_s.value;
  }
};

struct way {
  std::string name, title;
  way_policy policy = way_policy::troupe;
  std::string card;  ///< empty: the costs are fitted
  std::uint32_t cards = 1;
  std::optional<double> usd_per_hour;  ///< of all cards; absent: the card's price
  std::optional<double> compute_efficiency, memory_efficiency;
  std::optional<step_cost> fitted;
  request_path path;
  std::optional<number_format> weights;
  std::optional<double> kv_bytes;
  speculation speculative;
  engine_settings engine;
  batch_settings batches;
  std::optional<lane> one_lane;    ///< that all requests go into, whatever they ask for
  std::uint32_t asked_tokens = 0;  ///< max_tokens of all requests (virtual_engine_options)
  published_figures published;
  std::vector<std::string> notes;  ///< what else is to be said of it
};

/// A published share or relation, beside a figure of ours.
struct published_claim {
  std::string way;      ///< whose figure
  std::string against;  ///< empty, or the way that it is less than by so many percent
  std::string figure;   ///< a name of claim_figures()
  double percent = 0.0;
  std::string why;  ///< how the two relate
};

struct assumption {
  std::string about, source;
};

enum class length_source : std::uint8_t { drawn, sharegpt, trace };

struct scenario {
  std::string name, about;
  std::uint64_t seed = 0;
  workload_description load;
  length_source lengths = length_source::drawn;
  std::string file;  ///< of sharegpt or trace; as it stands in the scenario, or empty
  client_behaviour clients;
  std::array<lane_targets, lane_count> targets;
  model_shape model;
  std::vector<way> ways;
  std::vector<published_claim> claims;
  std::vector<assumption> assumptions;
};

/// Shares of run_figures that a claim may name, in percent.
std::optional<double> claim_figure(const run_figures& figures, std::string_view name);
std::span<const std::string_view> claim_figures();

/// `name` is for messages. Errors: invalid_argument with the line; unknown keys name the nearest.
result<scenario> parse_scenario(std::string_view yaml, std::string_view name);

}  // namespace troupe::simulate
