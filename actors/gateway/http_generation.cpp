#include "actors/gateway/http_generation.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/messages/text_check.hpp"

namespace troupe {
namespace {

/// As the text_offset of completion logprobs counts.
std::size_t token_characters(const std::vector<position_logprobs>& positions) {
  std::size_t count = 0;
  for (const auto& position : positions) count += utf8_length(position.chosen.token);
  return count;
}

}  // namespace

http_generation::http_generation(openai_request request, openai_reply_context context,
                                 std::vector<prompt_facts> prompts)
    : request_(std::move(request)), context_(std::move(context)) {
  std::uint64_t first_choice = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    // Not validated yet: a wrong n is refused by the gateway, before any sequence exists.
    const auto count = static_cast<std::uint64_t>(
        std::clamp<std::int64_t>(prompts[i].sequence_count, 1, limits::n_max));
    prompts_.push_back({.sequence_count = count,
                        .first_choice = first_choice,
                        .first_token = std::move(prompts[i].first_token)});
    first_choice += count;
    prompt_of_request_.emplace(request_id(i), i);
  }
}

std::string http_generation::request_id(std::size_t prompt_index) const {
  return fmt::format("{}-{}", context_.id, prompt_index);
}

void http_generation::take(const outbound& message) {
  const auto found = prompt_of_request_.find(message.header.request_id);
  if (found == prompt_of_request_.end() || failure_.has_value()) return;
  prompt_state& prompt = prompts_[found->second];
  if (prompt.ended) return;
  if (const auto* part = std::get_if<delta>(&message.body)) {
    take_delta(prompt, message.header, *part);
  } else if (const auto* start = std::get_if<accepted>(&message.body)) {
    prompt.usage.prompt_tokens = start->prompt_tokens;
  } else if (const auto* end = std::get_if<finished>(&message.body)) {
    take_finished(prompt, *end);
  } else if (const auto* failed = std::get_if<error_reply>(&message.body)) {
    prompt.ended = true;
    ++ended_count_;
    failure_ = error{errc_named(failed->code), failed->message};
  }
}

void http_generation::take_delta(prompt_state& prompt, const envelope_header& header,
                                 const delta& part) {
  if (header.sequence >= prompt.sequence_count) return;
  const auto index = static_cast<std::uint32_t>(prompt.first_choice + header.sequence);
  choice_state& choice = choices_[index];
  const std::uint64_t end_offset = header.offset + part.token_ids.size();
  if (!part.token_ids.empty() && end_offset <= choice.token_count) return;  // a repeat
  prompt.usage.completion_tokens += end_offset - std::min(end_offset, choice.token_count);
  choice.token_count = std::max(choice.token_count, end_offset);
  if (request_.stream) {
    add_event(prompt, choice, index, part);
    return;
  }
  openai_choice& collected = choice.collected;
  collected.text += part.text;
  collected.logprobs.insert(collected.logprobs.end(), part.logprobs.begin(), part.logprobs.end());
  collected.prompt_logprobs.insert(collected.prompt_logprobs.end(), part.prompt_logprobs.begin(),
                                   part.prompt_logprobs.end());
  if (part.finish_reason) collected.finish_reason = *part.finish_reason;
  if (part.stop_reason) collected.stop_reason = part.stop_reason;
}

void http_generation::add_event(const prompt_state& prompt, choice_state& choice,
                                std::uint32_t index, const delta& part) {
  const bool sends_role =
      context_.endpoint == openai_endpoint::chat_completions && !choice.role_sent;
  // A part of a character, or of a possible stop string: nothing to show yet.
  if (part.text.empty() && !part.finish_reason && part.logprobs.empty() &&
      part.prompt_logprobs.empty() && !sends_role) {
    return;
  }
  const openai_usage usage{.prompt_tokens = prompt.usage.prompt_tokens,
                           .completion_tokens = choice.token_count,
                           .cached_tokens = prompt.usage.cached_tokens};
  events_ += openai_chunk(context_, index, part, !choice.role_sent,
                          request_.continuous_usage_stats ? &usage : nullptr, choice.text_offset);
  if (context_.wants_logprobs) {
    if (context_.echo && !choice.role_sent)
      choice.text_offset += token_characters(part.prompt_logprobs);
    choice.text_offset += token_characters(part.logprobs);
  }
  choice.role_sent = true;
}

void http_generation::take_finished(prompt_state& prompt, const finished& end) {
  prompt.ended = true;
  ++ended_count_;
  prompt.usage = {.prompt_tokens = end.prompt_tokens,
                  .completion_tokens = end.completion_tokens,
                  .cached_tokens = end.cached_tokens};
  if (request_.stream) return;
  for (std::uint64_t sequence = 0; sequence < prompt.sequence_count; ++sequence) {
    openai_choice& collected =
        choices_[static_cast<std::uint32_t>(prompt.first_choice + sequence)].collected;
    collected.first_prompt_token = prompt.first_token;
    if (collected.finish_reason.empty() && sequence < end.finish_reasons.size()) {
      collected.finish_reason = end.finish_reasons[sequence];
    }
  }
}

std::vector<std::string> http_generation::unfinished() const {
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < prompts_.size(); ++i) {
    if (!prompts_[i].ended) ids.push_back(request_id(i));
  }
  return ids;
}

openai_usage http_generation::total_usage() const {
  openai_usage total;
  for (const auto& prompt : prompts_) {
    total.prompt_tokens += prompt.usage.prompt_tokens;
    total.completion_tokens += prompt.usage.completion_tokens;
    total.cached_tokens += prompt.usage.cached_tokens;
  }
  return total;
}

std::string http_generation::take_events() {
  if (is_complete() && !failure_ && !closing_events_made_) {
    closing_events_made_ = true;
    if (request_.include_usage) events_ += openai_usage_chunk(context_, total_usage());
    events_ += openai_done;
  }
  return std::exchange(events_, {});
}

std::string http_generation::whole_reply() const {
  std::vector<openai_choice> choices;
  choices.reserve(choices_.size());
  for (const auto& [index, choice] : choices_) {
    choices.push_back(choice.collected);
    choices.back().index = index;
  }
  return openai_reply(context_, choices, total_usage());
}

}  // namespace troupe
