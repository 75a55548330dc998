// What was seen of one request. Times are seconds from the start of the load.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/schedule/lane.hpp"

namespace troupe::bench {

struct request_record {
  lane service = lane::realtime;
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_tokens =
      0;  ///< the server's count; without one, the messages that carried tokens
  double start_s =
      0.0;  ///< what latencies count from: arrival in an open loop, sending in a closed one
  double lag_s = 0.0;          ///< from the moment it could have been sent until it was
  double first_s = 0.0;        ///< first token
  double last_s = 0.0;         ///< latest message with tokens
  std::vector<double> gaps_s;  ///< between messages with tokens
  bool has_tokens = false;
  bool is_ok = false;
  std::string failure;  ///< where it is not ok

  [[nodiscard]] double ttft_s() const { return first_s - start_s; }
  [[nodiscard]] double e2el_s() const { return last_s - start_s; }
  /// Time per output token after the first; 0 for a single token.
  [[nodiscard]] double tpot_s() const {
    return output_tokens > 1 ? (last_s - first_s) / (output_tokens - 1) : 0.0;
  }
};

}  // namespace troupe::bench
