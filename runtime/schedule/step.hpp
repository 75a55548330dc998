// What a scheduler asks of a worker and what comes back: one sealed step plan, one step result.
// Plain data; the plan carries everything the step needs, so that a worker keeps no state of any
// sequence.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/index_types.hpp"
#include "runtime/decode/generation_params.hpp"
#include "runtime/memory/block_copy.hpp"
#include "runtime/memory/block_key.hpp"
#include "runtime/schedule/mostly_one.hpp"

namespace troupe {

/// Process-unique number of a request; a client's own id is text and scoped to its tenant.
enum class request_id : std::uint64_t {};

struct sequence_id {
  request_id request{};
  std::uint32_t index = 0;  ///< 0 .. n - 1 within the request
  auto operator<=>(const sequence_id&) const = default;
};

enum class step_id : std::uint64_t {};

/// Draw the next token after the slice's last row, for one or more sequences that share it (n > 1
/// share their prompt and part at the first token).
struct sample_directive {
  std::shared_ptr<const generation_params> params;
  mostly_one<std::uint32_t> sequence_indices;  ///< one token is drawn for each
  bool forbid_stop_ids = false;                ///< fewer than min_tokens so far
  std::uint32_t prompt_count = 0;              ///< how many of history are prompt tokens
  std::vector<token_id>
      history;  ///< prompt and output; filled only when params->sampling.needs_history()
};

struct step_slice {
  sequence_id sequence;
  mostly_one<token_id> tokens;  ///< consecutive positions; one for a decode
  std::uint32_t position_first = 0;
  std::vector<block_index> block_table;  ///< covers position_first + tokens.size() positions
  std::optional<sample_directive>
      sample;  ///< absent before the prompt's end, and where max_tokens is 0
  /// Prompt logprobs: score token i + 1 of the prompt from row i. `next_token` is the prompt token
  /// after the slice (absent when the slice ends the prompt). Absent when not asked for.
  std::optional<std::uint32_t> prompt_logprobs;
  std::optional<token_id> next_token;
};

/// A cached block that was given to a new owner: its contents go to the lower tier.
struct block_offload {
  block_index block{};
  block_key_ptr key;
};
/// Contents that come back from the lower tier instead of being computed.
struct block_upload {
  block_index block{};
  block_bytes bytes;
};

/// Executed in the order of the fields.
struct step_plan {
  step_id id{};
  std::vector<block_offload> offloads;  ///< read before anything of this step is written
  std::vector<block_upload> uploads;
  std::vector<block_copy> copies;  ///< copy-on-write
  std::vector<step_slice> slices;
  [[nodiscard]] std::uint32_t token_count() const {
    std::uint32_t count = 0;
    for (const auto& slice : slices) count += static_cast<std::uint32_t>(slice.tokens.size());
    return count;
  }
};

struct slice_result {
  std::vector<sampled_token> sampled;          ///< one for each of sample->sequence_indices
  std::vector<sampled_token> prompt_logprobs;  ///< one for each row that had a next prompt token
};

struct step_result {
  step_id id{};
  std::vector<slice_result> slices;     ///< in plan order
  std::vector<stored_block> offloaded;  ///< the plan's offloads, in order
  double compute_ms = 0.0;              ///< without the next two
  double offload_ms = 0.0;              ///< of reading the plan's offloads
  double upload_ms = 0.0;               ///< of writing the plan's uploads

  /// How long the worker was busy.
  [[nodiscard]] double total_ms() const { return compute_ms + offload_ms + upload_ms; }
};

}  // namespace troupe
