// What a load asks for: one item a request, made before the clock starts.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe::bench {

struct work_item {
  std::string prompt;
  std::vector<std::int64_t>
      prompt_token_ids;  ///< of `prompt`, where the data are tokens; else empty
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_tokens = 0;  ///< to be asked for
};

/// How many tokens the model's tokenizer makes of a text, those that it puts around it included.
using token_counter = std::function<std::size_t(std::string_view)>;

}  // namespace troupe::bench
