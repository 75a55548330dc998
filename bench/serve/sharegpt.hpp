// The ShareGPT conversations as vLLM's client uses them: the first two turns are prompt and answer,
// what is too short or too long is left out, and the seed decides the order.
#pragma once

#include <filesystem>

#include "bench/serve/work.hpp"
#include "kernels/base/result.hpp"

namespace troupe::bench {

struct conversation {
  std::string prompt, completion;
};

/// A JSON array of objects whose `conversations` are arrays of {"value": text}; objects with fewer
/// than two turns are left out. Errors: not_found, corrupt, unsupported (above
/// limits::bench_dataset_bytes_max).
result<std::vector<conversation>> read_sharegpt(const std::filesystem::path& file);

struct sharegpt_options {
  std::size_t request_count = 1000;
  std::uint64_t seed = 0;
  std::optional<std::uint32_t> output_tokens;  ///< absent: as long as the conversation's answer
};

/// Whether vLLM's client keeps a conversation of these lengths.
bool is_kept(std::size_t prompt_tokens, std::size_t output_tokens, bool output_is_given);

/// Where too few conversations are kept, some are drawn again, as vLLM's client does. Error:
/// invalid_argument where none is kept.
result<std::vector<work_item>> sample_sharegpt(std::vector<conversation> conversations,
                                               const sharegpt_options& options,
                                               const token_counter& count_tokens);

}  // namespace troupe::bench
