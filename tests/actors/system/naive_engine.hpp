// A language model that is a hash, twice: as an executor behind block tables, and as a plain loop
// over one sequence. What the actors deliver has to be what the loop gives, whatever happened on
// the way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/check.hpp"
#include "kernels/base/hash.hpp"
#include "runtime/execute/step_executor.hpp"
#include "runtime/schedule/scheduler_core.hpp"
#include "runtime/text/detokenizer.hpp"
#include "runtime/text/tokenizer.hpp"

namespace troupe::test {

/// The next token after `tokens`: every 24th is an end of generation, the others are any of the
/// vocabulary.
inline token_id hashed_token(std::span<const token_id> tokens, const tokenizer& vocabulary,
                             const generation_params& params, std::uint32_t sequence,
                             bool forbid_stop_ids) {
  std::uint64_t hash = mix_bits(params.sampling.seed + 1) + sequence;
  for (const token_id token : tokens) hash = mix_bits(hash + to_index(token) + 1);
  const auto& ends = vocabulary.end_of_generation();
  const auto& stop_ids = params.stopping.stop_token_ids;
  const auto is_in = [](const std::vector<token_id>& ids, token_id id) {
    return std::ranges::find(ids, id) != ids.end();
  };
  if (hash % 24 == 0 && !ends.empty() && !forbid_stop_ids) return ends.front();
  std::uint64_t id = (hash >> 8) % vocabulary.vocab_size();
  const auto forbidden = [&] {
    const auto token = static_cast<token_id>(id);
    return forbid_stop_ids && (is_in(ends, token) || is_in(stop_ids, token));
  };
  while (forbidden()) id = (id + 1) % vocabulary.vocab_size();
  return static_cast<token_id>(id);
}

/// Keeps a token in each cell of the KV cache and reads its context back through the block tables,
/// so that a wrong table, a missing copy or a block that was freed too soon gives other tokens.
class hash_executor final : public step_executor {
 public:
  /// Called before each step; may throw.
  using step_hook = std::function<void(const step_plan&)>;

  hash_executor(std::shared_ptr<const tokenizer> vocabulary, const scheduler_limits& limits,
                step_hook before_step)
      : vocabulary_(std::move(vocabulary)),
        block_tokens_(limits.block_tokens),
        cells_(std::size_t{limits.block_count} * limits.block_tokens),
        before_step_(std::move(before_step)) {}

  step_result execute(const step_plan& plan) override {
    if (before_step_) before_step_(plan);
    for (const block_copy& copy : plan.copies) {
      const auto from = cells_.begin() + std::ptrdiff_t(to_index(copy.from) * block_tokens_);
      std::copy_n(from, block_tokens_,
                  cells_.begin() + std::ptrdiff_t(to_index(copy.to) * block_tokens_));
    }
    for (const step_slice& slice : plan.slices) {
      for (std::uint32_t i = 0; i < slice.tokens.size(); ++i)
        cell(slice, slice.position_first + i) = slice.tokens[i];
    }
    step_result done;
    done.id = plan.id;
    for (const step_slice& slice : plan.slices) done.slices.push_back(finish(slice));
    return done;
  }

 private:
  std::optional<token_id>& cell(const step_slice& slice, std::uint32_t position) {
    return cells_.at(to_index(slice.block_table.at(position / block_tokens_)) * block_tokens_ +
                     position % block_tokens_);
  }

  slice_result finish(const step_slice& slice) {
    slice_result done;
    const auto count = static_cast<std::uint32_t>(slice.tokens.size());
    for (std::uint32_t row = 0; slice.prompt_logprobs && row < count; ++row) {
      const bool last = row + 1 == count;
      if (last && !slice.next_token) break;
      const token_id next = last ? *slice.next_token : slice.tokens[row + 1];
      done.prompt_logprobs.push_back({next, -float(slice.position_first + row), 1, {}});
    }
    if (!slice.sample) return done;
    std::vector<token_id> context;
    for (std::uint32_t i = 0; i < slice.position_first + count; ++i) {
      TROUPE_CHECK(cell(slice, i).has_value());
      context.push_back(*cell(slice, i));
    }
    for (const std::uint32_t sequence : slice.sample->sequence_indices) {
      const token_id token = hashed_token(context, *vocabulary_, *slice.sample->params, sequence,
                                          slice.sample->forbid_stop_ids);
      done.sampled.push_back({token, -1.0f, 1, {}});
    }
    return done;
  }

  std::shared_ptr<const tokenizer> vocabulary_;
  std::size_t block_tokens_;
  std::vector<std::optional<token_id>> cells_;
  step_hook before_step_;
};

/// What one sequence has to say.
struct expected_output {
  std::vector<std::int64_t> tokens;
  std::string text;
  std::string finish_reason;
};

/// Where the stop string begins that ends after the first unstoppable_bytes.
inline std::optional<std::size_t> find_stop(std::string_view text,
                                            const std::vector<std::string>& stops,
                                            std::size_t unstoppable_bytes) {
  if (stops.empty()) return std::nullopt;
  const auto& stop = stops.front();
  const std::size_t first_end = std::max(unstoppable_bytes + 1, stop.size());
  const auto place = text.find(stop, first_end - stop.size());
  return place == std::string::npos ? std::nullopt : std::optional(place);
}

/// One sequence, token by token, with at most one stop string.
inline expected_output generate_naively(const std::vector<token_id>& prompt,
                                        const generation_params& params,
                                        const std::shared_ptr<const tokenizer>& vocabulary,
                                        std::uint32_t sequence) {
  expected_output expected;
  if (params.echo) expected.text = vocabulary->decode(prompt, params.skip_special_tokens);
  if (params.stopping.max_tokens == 0) {
    expected.finish_reason = "length";
    return expected;
  }
  std::vector<token_id> tokens = prompt;
  detokenizer text(vocabulary,
                   {.skip_special = params.skip_special_tokens, .continues_prompt = true});
  const auto& stopping = params.stopping;
  const auto may_stop = [&] { return expected.tokens.size() >= stopping.min_tokens; };
  std::size_t unstoppable_bytes = 0;  // text of the first min_tokens: no stop string ends in it
  while (expected.finish_reason.empty()) {
    const token_id token = hashed_token(tokens, *vocabulary, params, sequence, !may_stop());
    const bool is_end =
        may_stop() &&
        ((!stopping.ignore_eos && vocabulary->is_end_of_generation(token)) ||
         std::ranges::find(stopping.stop_token_ids, token) != stopping.stop_token_ids.end());
    tokens.push_back(token);
    expected.tokens.push_back(static_cast<std::int64_t>(token));
    if (!is_end) expected.text += text.push(token);
    if (expected.tokens.size() <= stopping.min_tokens) unstoppable_bytes = expected.text.size();
    if (const auto stop = find_stop(expected.text, stopping.stop, unstoppable_bytes)) {
      expected.text.resize(*stop);
      expected.finish_reason = "stop";
      return expected;
    }
    if (is_end)
      expected.finish_reason = "stop";
    else if (expected.tokens.size() >= stopping.max_tokens)
      expected.finish_reason = "length";
  }
  expected.text += text.finish();
  return expected;
}

}  // namespace troupe::test
