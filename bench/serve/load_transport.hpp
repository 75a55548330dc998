// What a load needs of a protocol: requests sent when the run says so, on one thread, each with a
// deadline.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/serve/load_run.hpp"
#include "bench/serve/work.hpp"
#include "kernels/base/result.hpp"

namespace troupe::bench {

/// Seconds since its making.
class load_clock {
 public:
  [[nodiscard]] double now_s() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

struct generation_settings {
  std::string model;  ///< as the server calls it
  bool ignore_eos = false;
  std::optional<double> temperature;  ///< absent: the server's default
  std::uint64_t deadline_ms = 0;      ///< of every request, from its arrival; 0: none
  double silence_s_max = 600.0;       ///< a request that hears nothing for this long has failed
};

struct load_job {
  std::vector<work_item> work;
  std::vector<lane> lanes;  ///< as many
  generation_settings generation;
};

class load_transport {
 public:
  virtual ~load_transport() = default;

  /// The name of the model that the server has, for requests that must name it. Error: unavailable.
  virtual result<std::string> find_model() = 0;
  /// Returns when the run is done. It ends whatever the server does.
  virtual void drive(const load_job& job, load_run& run) = 0;
};

/// url: http://HOST:PORT (OpenAI's /v1/completions) or tcp://HOST:PORT (docs/protocol.md). api_key:
/// sent over HTTP as a bearer token unless it is empty. Errors: invalid_argument (another form),
/// unavailable (no such host).
result<std::unique_ptr<load_transport>> open_transport(const std::string& url,
                                                       const std::string& api_key);

/// The two kinds of it.
result<std::unique_ptr<load_transport>> open_http_load(const std::string& host,
                                                       const std::string& port,
                                                       const std::string& api_key);
result<std::unique_ptr<load_transport>> open_zmq_load(const std::string& endpoint);

}  // namespace troupe::bench
