// What clients ask for: when requests arrive, how long they are, in which lanes, and what prompts
// share. Made before a run, in the order of arrival; the same description and seed make the same
// requests on any machine whose logarithm rounds alike.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/base/result.hpp"
#include "runtime/simulate/virtual_request.hpp"

namespace troupe::simulate {

struct arrival_process {
  double rate_per_s = std::numeric_limits<double>::infinity();  ///< infinite: all at once
  /// Shape of the gamma distribution of gaps: 1 is a Poisson process, below is burstier.
  double burstiness = 1.0;
};

enum class length_kind : std::uint8_t { fixed, lognormal };

struct length_distribution {
  length_kind kind = length_kind::fixed;
  double mean_tokens = 128.0;  ///< of the distribution before it is cut at the bounds
  double sigma = 0.0;          ///< of the logarithm; lognormal only
  std::uint32_t min_tokens = 1, max_tokens = 1u << 20;
};

struct token_lengths {
  std::uint32_t prompt = 1, output = 1;
};

/// Prompts that begin alike: system prompts, documents, conversations.
struct shared_prefixes {
  std::uint32_t groups = 0;  ///< 0: none
  double share = 1.0;        ///< of the requests that begin with one
  std::uint32_t tokens = 0;  ///< of each; prompts are made longer than this
};

/// How long requests allow for their answers, evenly drawn between two bounds; both 0: no
/// deadlines.
struct allowed_time {
  double ms_min = 0.0, ms_max = 0.0;
};

struct workload_description {
  std::uint32_t request_count = 1000;
  arrival_process arrivals;
  length_distribution prompt, output;
  shared_prefixes prefixes;
  std::array<double, lane_count> lane_share{0.0, 1.0, 0.0};  ///< sums to 1
  std::array<allowed_time, lane_count> lane_allowed{};
};

/// `given`: lengths to be used in turn instead of drawn ones; empty: draw.
std::vector<virtual_request> make_workload(const workload_description& description,
                                           const std::vector<token_lengths>& given,
                                           std::uint64_t seed);

/// From what their lanes allow.
void set_deadlines(std::vector<virtual_request>& requests,
                   const std::array<allowed_time, lane_count>& lane_allowed, std::uint64_t seed);

/// A trace: lines of "arrival_s,prompt_tokens,output_tokens[,lane]" under a header of these names.
/// Errors: invalid_argument, naming the line, or above limits::simulated_request_count_max.
result<std::vector<virtual_request>> parse_trace(std::string_view text, std::string_view name);

}  // namespace troupe::simulate
