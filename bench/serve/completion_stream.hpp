// The stream of an OpenAI completion, read with as little work as possible: the client shares its
// cores with the server that it measures.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "bench/serve/load_transport.hpp"
#include "kernels/base/result.hpp"

namespace troupe::bench {

/// Server-sent events out of bytes that come in any pieces. Other fields than `data` are left out.
class event_reader {
 public:
  /// Calls on_data with the value of each `data:` line that is complete. Error: corrupt (a line
  /// above limits::bench_event_bytes_max).
  result<void> take(std::string_view bytes,
                    const std::function<void(std::string_view data)>& on_data);

 private:
  std::string line_;  ///< the beginning of a line whose end has not come
};

struct completion_event {
  bool has_choice = false;  ///< it carries a token's text, which may be empty
  bool is_last = false;     ///< [DONE]
  std::optional<std::uint32_t> prompt_tokens, output_tokens;  ///< from the closing usage
  std::optional<std::string> failure;  ///< the server's message instead of a choice
};

completion_event read_completion_event(std::string_view data);

/// The body of POST /v1/completions.
std::string completion_body(const work_item& item, const generation_settings& settings);

/// The message of an error's body; the body itself where it has none.
std::string error_message_of(std::string_view body);

}  // namespace troupe::bench
