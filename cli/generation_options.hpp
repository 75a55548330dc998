// What `chat` and `complete` share: sampling flags, and where to generate - on a server, or here
// with --model.
#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "runtime/messages/request.hpp"
#include "runtime/schedule/lane.hpp"

namespace troupe {
class embedded_engine;
}

namespace troupe::cli {

struct generation_options {
  submit request;
  std::string endpoint = "tcp://127.0.0.1:5555";
  std::string model;  ///< a file: generate in this process, without a server
  std::string lane_name = "realtime";
  std::size_t threads = 0;
  bool show_stats = false;
};

void add_generation_flags(CLI::App& command, generation_options& options);

struct printed_generation {
  int exit_code = 0;
  std::string text;  ///< what was printed
};

/// Where a command generates: on a server, or in this process (the model is loaded at the first
/// request).
class generation_place {
 public:
  explicit generation_place(const generation_options& options);
  ~generation_place();

  /// Prints the text to stdout as it comes, and with --stats TTFT and tokens/s to stderr.
  printed_generation generate_and_print(const submit& request);

 private:
  printed_generation generate_here(const submit& request, lane service);
  printed_generation generate_there(const submit& request, lane service);

  const generation_options& options_;
  std::unique_ptr<embedded_engine> engine_;
};

}  // namespace troupe::cli
