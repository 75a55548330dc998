// A deterministic engine for tests of the scheduler. Its "KV" of a position is a hash of the tenant
// and of every token up to it, stored in model blocks exactly where a plan says, so that reading a
// prefix back proves copy-on-write, prefix reuse and the lifetime of blocks. The next token is a
// function of that hash and the sequence's index: generating one sequence alone gives the tokens
// that any schedule must give.
#pragma once

#include <cstring>
#include <map>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

#include "runtime/schedule/scheduler_core.hpp"

namespace troupe::test {

inline std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  std::uint64_t x = (hash ^ value) * 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9u;
  return x ^ (x >> 32);
}

inline std::uint64_t path_root(std::uint64_t tenant_salt) {
  return mix(0x51ED, tenant_salt);
}

inline std::uint64_t path_next(std::uint64_t path, token_id token) {
  return mix(path, static_cast<std::uint64_t>(token) + 1);
}

inline constexpr std::uint64_t fake_vocab_size = 48;

inline bool contains(const std::vector<token_id>& ids, token_id id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

inline token_id fake_token(std::uint64_t path, std::uint32_t index, const generation_params& params,
                           const std::vector<token_id>& end_of_generation, bool forbid_stop_ids) {
  for (std::uint64_t hash = mix(path, 0xABCD + index);; hash = mix(hash, 1)) {
    const auto token = static_cast<token_id>(hash % fake_vocab_size);
    const bool stops = (!params.stopping.ignore_eos && contains(end_of_generation, token)) ||
                       contains(params.stopping.stop_token_ids, token);
    if (!stops || !forbid_stop_ids) return token;
  }
}

/// What one sequence generates when it is alone in the world.
struct naive_output {
  std::vector<token_id> tokens;
  finish_reason reason = finish_reason::length;
  std::optional<token_id> stop_token;
  std::vector<std::uint64_t> paths;  ///< for each position of prompt and output
};

inline naive_output generate_alone(const schedule_request& request, std::uint32_t index,
                                   const scheduler_limits& limits) {
  naive_output made;
  const generation_params& params = *request.params;
  std::uint64_t path = path_root(request.tenant_salt);
  for (const token_id token : *request.prompt) made.paths.push_back(path = path_next(path, token));
  if (params.stopping.max_tokens == 0) return made;
  for (;;) {
    const bool forbid = made.tokens.size() < params.stopping.min_tokens;
    const token_id token = fake_token(path, index, params, limits.end_of_generation, forbid);
    made.tokens.push_back(token);
    made.paths.push_back(path = path_next(path, token));
    const bool is_end = !params.stopping.ignore_eos && contains(limits.end_of_generation, token);
    if (!forbid && (is_end || contains(params.stopping.stop_token_ids, token))) {
      made.reason = finish_reason::stop;
      made.stop_token = token;
      return made;
    }
    if (made.tokens.size() == params.stopping.max_tokens ||
        request.prompt->size() + made.tokens.size() == limits.max_model_len) {
      return made;
    }
  }
}

/// A request, what it must produce and what has come so far.
struct expected_request {
  schedule_request request;
  struct sequence {
    naive_output naive;
    std::size_t emitted = 0;  ///< tokens received, or carried by a resumed request
    bool finished = false;
    bool stopped = false;
  };
  std::vector<sequence> sequences;
  std::size_t prompt_rows = 0;  ///< prompt logprobs received
  bool cancelled = false;
  bool started = false;

  [[nodiscard]] bool is_done() const {
    if (cancelled) return true;
    for (const auto& each : sequences) {
      if (!each.finished && !each.stopped) return false;
    }
    return true;
  }
};

inline expected_request expect(const schedule_request& request, const scheduler_limits& limits) {
  expected_request made;
  made.request = request;
  for (std::uint32_t i = 0; i < request.params->n; ++i) {
    made.sequences.push_back({generate_alone(request, i, limits)});
    if (request.resumed.empty()) continue;
    made.sequences[i].emitted = request.resumed[i].output.size();
    made.sequences[i].finished = request.resumed[i].finished;
  }
  return made;
}

using expectations = std::map<request_id, expected_request>;

class fake_engine {
 public:
  explicit fake_engine(const scheduler_limits& limits)
      : limits_(limits), memory_(std::size_t{limits.block_count} * limits.block_tokens) {}

  /// Offloads, uploads, copies, then every slice's reads, then every write: a slice must not need
  /// what another slice of the same step writes.
  step_result run(const step_plan& plan, const expectations& truth) {
    ++step_;
    check_sizes(plan);
    step_result made;
    for (const auto& order : plan.offloads) made.offloaded.push_back({order.key, read(order)});
    upload_blocks(plan);
    copy_blocks(plan);
    for (const auto& slice : plan.slices) check_prefix(slice, truth.at(slice.sequence.request));
    made.id = plan.id;
    made.offload_ms = block_move_ms * static_cast<double>(plan.offloads.size());
    made.upload_ms = block_move_ms * static_cast<double>(plan.uploads.size());
    for (const auto& slice : plan.slices) {
      made.slices.push_back(run_slice(slice, truth.at(slice.sequence.request)));
    }
    return made;
  }

  double block_move_ms = 0.0;  ///< what steps say that moving a block took, each way; 0: nothing

 private:
  struct kv_slot {
    std::uint32_t position = ~0u;
    token_id token{-1};
    std::uint64_t path = 0;
    std::uint64_t read_step = 0, written_step = 0;
  };

  kv_slot& slot(const step_slice& slice, std::uint32_t position) {
    const block_index block = slice.block_table.at(position / limits_.block_tokens);
    return memory_.at(to_index(block) * limits_.block_tokens + position % limits_.block_tokens);
  }

  void check_sizes(const step_plan& plan) {
    if (plan.token_count() > limits_.max_num_batched_tokens) FAIL("too many tokens");
    if (plan.slices.size() > limits_.max_num_seqs) FAIL("too many sequences");
    std::set<sequence_id> sequences;
    for (const auto& slice : plan.slices) {
      if (!sequences.insert(slice.sequence).second) FAIL("a sequence twice");
      if (slice.tokens.empty()) FAIL("an empty slice");
      const std::size_t end = slice.position_first + slice.tokens.size();
      const std::size_t blocks = (end + limits_.block_tokens - 1) / limits_.block_tokens;
      if (slice.block_table.size() != blocks) FAIL("the block table has another size");
    }
  }

  /// The bytes of an evicted block, which must still be what its key says.
  block_bytes read(const block_offload& order) {
    if (!limits_.enable_offload) FAIL("an offload with the tier off");
    std::vector<token_id> prefix;
    for (const block_key* link = order.key.get(); link != nullptr; link = link->parent().get()) {
      prefix.insert(prefix.begin(), link->tokens().begin(), link->tokens().end());
    }
    std::uint64_t path = path_root(order.key->tenant_salt());
    const kv_slot* slots = &memory_.at(to_index(order.block) * limits_.block_tokens);
    for (std::uint32_t p = 0; p < prefix.size(); ++p) {
      path = path_next(path, prefix[p]);
      if (p + limits_.block_tokens < prefix.size()) continue;
      const kv_slot& evicted = slots[p % limits_.block_tokens];
      if (evicted.position != p || evicted.path != path) FAIL("an offloaded block lost its KV");
    }
    std::vector<std::byte> bytes(limits_.block_tokens * sizeof(kv_slot));
    std::memcpy(bytes.data(), slots, bytes.size());
    return std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  }

  void upload_blocks(const step_plan& plan) {
    if (plan.uploads.size() > limits_.max_uploads_per_step) FAIL("too many uploads");
    std::set<block_index> targets;
    for (const auto& upload : plan.uploads) {
      if (!targets.insert(upload.block).second) FAIL("two uploads into one block");
      kv_slot* slots = &memory_.at(to_index(upload.block) * limits_.block_tokens);
      REQUIRE(upload.bytes->size() == limits_.block_tokens * sizeof(kv_slot));
      std::memcpy(slots, upload.bytes->data(), upload.bytes->size());
    }
    for (const auto& copy : plan.copies) {
      if (targets.contains(copy.from) || targets.contains(copy.to)) {
        FAIL("a copy of an uploaded block");
      }
    }
  }

  void copy_blocks(const step_plan& plan) {
    std::set<block_index> targets;
    for (const auto& copy : plan.copies) {
      if (!targets.insert(copy.to).second) FAIL("two copies into one block");
    }
    for (const auto& copy : plan.copies) {
      // A worker may run the copies in any order, or at once.
      if (targets.contains(copy.from)) FAIL("a copy reads what another writes");
      for (std::uint32_t i = 0; i < limits_.block_tokens; ++i) {
        memory_[to_index(copy.to) * limits_.block_tokens + i] =
            memory_[to_index(copy.from) * limits_.block_tokens + i];
      }
    }
  }

  void check_prefix(const step_slice& slice, const expected_request& expected) {
    const auto& naive = expected.sequences.at(slice.sequence.index).naive;
    for (std::uint32_t p = 0; p < slice.position_first; ++p) {
      kv_slot& read = slot(slice, p);
      if (read.position != p || read.path != naive.paths.at(p)) {
        FAIL("wrong KV at position " << p << " of request "
                                     << static_cast<std::uint64_t>(slice.sequence.request));
      }
      read.read_step = step_;
    }
  }

  slice_result run_slice(const step_slice& slice, const expected_request& expected) {
    const schedule_request& request = expected.request;
    const std::size_t prompt_count = request.prompt->size();
    std::uint64_t path = slice.position_first == 0 ? path_root(request.tenant_salt)
                                                   : slot(slice, slice.position_first - 1).path;
    slice_result made;
    std::uint32_t position = slice.position_first;
    for (std::size_t i = 0; i < slice.tokens.size(); ++i, ++position) {
      const token_id token = slice.tokens[i];
      path = path_next(path, token);
      const auto& naive = expected.sequences.at(slice.sequence.index).naive;
      if (path != naive.paths.at(position)) FAIL("wrong token at position " << position);
      kv_slot& target = slot(slice, position);
      if (target.read_step == step_) FAIL("a slice writes what another reads");
      if (target.written_step == step_) FAIL("two slices write one slot");
      target = {position, token, path, 0, step_};
      if (slice.prompt_logprobs && position + 1 < prompt_count) {
        const bool has_next = i + 1 < slice.tokens.size();
        const token_id next = has_next ? slice.tokens[i + 1] : slice.next_token.value();
        if (next != request.prompt->at(position + 1)) FAIL("wrong next_token");
        made.prompt_logprobs.push_back({next, static_cast<float>(position), 0, {}});
      }
    }
    if (slice.next_token && position >= prompt_count) FAIL("next_token after the prompt");
    REQUIRE((!slice.sample || request.params->stopping.max_tokens != 0));
    if (slice.sample) sample(*slice.sample, slice, expected, position, path, made);
    return made;
  }

  void sample(const sample_directive& directive, const step_slice& slice,
              const expected_request& expected, std::uint32_t end, std::uint64_t path,
              slice_result& made) {
    const schedule_request& request = expected.request;
    const auto& params = *request.params;
    REQUIRE(directive.params == request.params);
    REQUIRE(directive.prompt_count == request.prompt->size());
    REQUIRE(!directive.sequence_indices.empty());
    const std::size_t output_count = end - request.prompt->size();
    REQUIRE(directive.forbid_stop_ids == (output_count < params.stopping.min_tokens));
    if (output_count != 0) REQUIRE(directive.sequence_indices.size() == 1);
    if (params.sampling.needs_history()) {
      std::vector<token_id> history = *request.prompt;
      const auto& own = expected.sequences.at(slice.sequence.index).naive.tokens;
      history.insert(history.end(), own.begin(), own.begin() + static_cast<long>(output_count));
      REQUIRE(directive.history == history);
    } else {
      REQUIRE(directive.history.empty());
    }
    for (const std::uint32_t index : directive.sequence_indices) {
      made.sampled.push_back(
          {fake_token(path, index, params, limits_.end_of_generation, directive.forbid_stop_ids),
           0.0f,
           0,
           {}});
    }
  }

  scheduler_limits limits_;
  std::vector<kv_slot> memory_;
  std::uint64_t step_ = 0;
};

/// Checks a step's updates against what was expected and counts them in.
inline void receive(const step_outcome& outcome, expectations& truth) {
  for (const auto& update : outcome.updates) {
    auto& expected = truth.at(update.sequence.request);
    auto& sequence = expected.sequences.at(update.sequence.index);
    if (expected.cancelled || sequence.stopped || sequence.finished)
      FAIL("an update after the end");
    for (const auto& row : update.prompt_logprobs) {
      if (static_cast<std::size_t>(row.logprob) != expected.prompt_rows++)
        FAIL("a prompt row out of order");
    }
    const auto& naive = sequence.naive;
    if (!update.token) {
      sequence.finished = update.finished.has_value();
      if (!sequence.finished) REQUIRE(!update.prompt_logprobs.empty());
      if (sequence.finished) REQUIRE((naive.tokens.empty() && *update.finished == naive.reason));
      continue;
    }
    if (update.token->token != naive.tokens.at(sequence.emitted)) FAIL("a wrong token");
    const bool is_last = ++sequence.emitted == naive.tokens.size();
    REQUIRE(update.finished.has_value() == is_last);
    if (!is_last) continue;
    REQUIRE(*update.finished == naive.reason);
    REQUIRE(update.stop_token == naive.stop_token);
    sequence.finished = true;
  }
}

}  // namespace troupe::test
