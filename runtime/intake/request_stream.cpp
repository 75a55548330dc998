#include "runtime/intake/request_stream.hpp"

#include "runtime/text/utf8.hpp"

namespace troupe {

request_stream::request_stream(std::shared_ptr<const tokenizer> tokens,
                               std::shared_ptr<const generation_params> params,
                               std::shared_ptr<const std::vector<token_id>> prompt)
    : tokens_(std::move(tokens)), params_(std::move(params)), prompt_(std::move(prompt)) {
  const detokenizer_options text{.skip_special = params_->skip_special_tokens,
                                 .continues_prompt = true};
  for (std::uint32_t i = 0; i < params_->n; ++i) {
    // Stop strings were validated at intake, so that this cannot fail.
    auto stops =
        stop_strings::create(params_->stopping.stop, params_->stopping.include_stop_str_in_output);
    sequences_.push_back({{}, detokenizer(tokens_, text), std::move(stops).value(), {}, {}});
  }
}

request_stream::taken request_stream::take(const sequence_update& update) {
  sequence_state& sequence = sequences_.at(update.sequence.index);
  // Rows that come after the first token are a recompute's: they went out already.
  if (prompt_logprobs_.size() + 1 < prompt_->size() && sequence.output.empty()) {
    for (const sampled_token& scored : update.prompt_logprobs)
      prompt_logprobs_.push_back(describe(scored));
  }
  if (sequence.ended) return {};
  if (!update.token && !update.finished) return {};

  taken outcome;
  positioned_delta out{update.sequence.index, sequence.output.size(), {}};
  bool reached_stop = false;
  if (sequence.output.empty()) add_prompt(out.part);
  if (update.token) add_token(sequence, update, out.part, reached_stop);
  if (reached_stop) {
    sequence.ended = finish_reason::stop;
    outcome.stop_sequence = !update.finished;
  } else if (update.finished) {
    sequence.ended = update.finished;
    out.part.text += look_for_stop(sequence, sequence.text.finish()).text;
    out.part.text += sequence.stops.finish();
    if (update.stop_token && !tokens_->is_end_of_generation(*update.stop_token))
      sequence.stop_reason = std::to_string(to_index(*update.stop_token));
  }
  if (sequence.ended) {
    out.part.finish_reason = std::string(to_string(*sequence.ended));
    out.part.stop_reason = sequence.stop_reason;
  }
  outcome.out = std::move(out);
  return outcome;
}

void request_stream::add_token(sequence_state& sequence, const sequence_update& update, delta& part,
                               bool& reached_stop) {
  const token_id id = update.token->token;
  sequence.output.push_back(id);
  part.token_ids.push_back(static_cast<std::int64_t>(id));
  if (params_->sampling.logprobs) part.logprobs.push_back(describe(*update.token));
  // The id that ended the sequence is reported, but is no part of the text (as in vLLM).
  const bool silent =
      update.stop_token.has_value() && !params_->stopping.include_stop_str_in_output;
  if (silent) return;
  const auto stepped = look_for_stop(sequence, sequence.text.push(id));
  part.text += stepped.text;
  if (!stepped.stop) return;
  reached_stop = true;
  sequence.stop_reason = params_->stopping.stop[*stepped.stop];
}

/// As in vLLM: a stop string counts when it ends in the text of a token after the first min_tokens.
stop_strings::step request_stream::look_for_stop(sequence_state& sequence,
                                                 std::string_view text) const {
  if (sequence.output.size() <= params_->stopping.min_tokens)
    return {sequence.stops.pass(text), std::nullopt};
  return sequence.stops.push(text);
}

void request_stream::add_prompt(delta& part) const {
  if (params_->echo) part.text = tokens_->decode(*prompt_, params_->skip_special_tokens);
  part.prompt_logprobs = prompt_logprobs_;
}

void request_stream::restart_prompt() {
  if (output_token_count() == 0) prompt_logprobs_.clear();
}

bool request_stream::is_complete() const {
  for (const sequence_state& sequence : sequences_) {
    if (!sequence.ended) return false;
  }
  return true;
}

finished request_stream::summary() const {
  finished closing;
  for (const sequence_state& sequence : sequences_)
    closing.finish_reasons.emplace_back(to_string(sequence.ended.value_or(finish_reason::error)));
  closing.prompt_tokens = prompt_->size();
  closing.completion_tokens = output_token_count();
  return closing;
}

std::vector<schedule_request::progress> request_stream::progress() const {
  std::vector<schedule_request::progress> all;
  for (const sequence_state& sequence : sequences_)
    all.push_back({sequence.output, sequence.ended.has_value()});
  return all;
}

std::uint64_t request_stream::longest_output() const {
  std::uint64_t longest = 0;
  for (const sequence_state& sequence : sequences_)
    longest = std::max<std::uint64_t>(longest, sequence.output.size());
  return longest;
}

std::uint64_t request_stream::output_token_count() const {
  std::uint64_t count = 0;
  for (const sequence_state& sequence : sequences_) count += sequence.output.size();
  return count;
}

position_logprobs request_stream::describe(const sampled_token& token) const {
  position_logprobs described{describe(token.token, token.logprob, token.rank), {}};
  std::uint64_t rank = 0;
  for (const token_logprob& other : token.top)
    described.top.push_back(describe(other.token, other.logprob, ++rank));
  return described;
}

logprob_entry request_stream::describe(token_id id, float logprob, std::uint64_t rank) const {
  const std::string_view bytes = tokens_->piece(id);
  logprob_entry entry;
  entry.token_id = static_cast<std::int64_t>(id);
  entry.token = utf8_repair(bytes);
  entry.bytes.assign(bytes.begin(), bytes.end());
  entry.logprob = logprob;
  entry.rank = rank;
  return entry;
}

}  // namespace troupe
