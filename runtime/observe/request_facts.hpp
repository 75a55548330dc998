// What is known of a request when it ends: the one place that metrics and promises are judged from.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/base/result.hpp"
#include "runtime/schedule/lane.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

struct request_facts {
  lane service = lane::realtime;
  std::optional<errc> failure;     ///< what ended it; none: it finished
  std::string_view finish_reason;  ///< of its first sequence: "stop", "length"
  std::uint64_t prompt_tokens = 0;
  std::uint64_t output_tokens = 0;   ///< of all sequences
  std::uint64_t longest_output = 0;  ///< tokens of the longest sequence
  monotonic_time arrival{};          ///< when the server had read it
  std::optional<monotonic_time> first_token;
  monotonic_time end{};
};

}  // namespace troupe
