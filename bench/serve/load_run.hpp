// One run of a load: which request is to be sent when, and what came of each. Time is handed in, in
// seconds from the start; sockets are the transports' affair (load_transport.hpp). A transport
// reports every request's end exactly once, as a success or as a failure; what it reports of an
// ended one is ignored.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/serve/request_record.hpp"

namespace troupe::bench {

struct load_run_options {
  std::vector<double> arrivals_s;   ///< ascending, one a request
  std::size_t concurrency_max = 0;  ///< requests in flight at once; 0: no bound
  /// Latencies count from the arrival, whenever the request could be sent: a server that stalls is
  /// charged for the requests which it held up.
  bool counts_from_arrival = false;
  std::function<void(std::size_t)> on_ended;  ///< with how many have ended; may be empty
};

class load_run {
 public:
  explicit load_run(load_run_options options);

  /// The next request that has arrived, if there is room for it; it counts as sent at now_s.
  std::optional<std::size_t> take_due(double now_s);
  /// When take_due has something to say; absent while nothing is left or no room.
  [[nodiscard]] std::optional<double> next_due_s() const;

  /// A message that carries tokens of a request.
  void on_tokens(std::size_t index, double now_s, std::uint32_t count);
  /// The server's own counts, which replace those of on_tokens.
  void on_usage(std::size_t index, std::uint32_t prompt_tokens, std::uint32_t output_tokens);
  /// Ended well; a request that never had a token is a failure all the same.
  void on_end(std::size_t index, double now_s);
  void on_failure(std::size_t index, double now_s, std::string message);
  /// The server is gone: whatever has not ended fails.
  void fail_all(double now_s, const std::string& message);

  [[nodiscard]] bool is_running(std::size_t index) const {
    return states_[index] == state::running;
  }
  [[nodiscard]] bool is_done() const { return ended_count_ == records_.size(); }
  /// From the start to the last end.
  [[nodiscard]] double duration_s() const { return last_end_s_; }
  [[nodiscard]] std::vector<request_record>& records() { return records_; }

 private:
  enum class state : std::uint8_t { waiting, running, ended };

  [[nodiscard]] bool has_room() const {
    return options_.concurrency_max == 0 || running_count_ < options_.concurrency_max;
  }
  void end(std::size_t index, double now_s);

  load_run_options options_;
  std::vector<request_record> records_;
  std::vector<state> states_;
  std::size_t next_ = 0, running_count_ = 0, ended_count_ = 0;
  double room_since_s_ = 0.0, last_end_s_ = 0.0;
};

}  // namespace troupe::bench
