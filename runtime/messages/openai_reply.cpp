// Whole replies and stream chunks, in the shapes of vLLM's protocol.py. Written as text: a stream's
// chunk is on the path of every token.
#include "runtime/messages/json_text.hpp"
#include "runtime/messages/openai.hpp"
#include "runtime/messages/openai_logprobs.hpp"

namespace troupe {
namespace {

bool is_chat(const openai_reply_context& context) {
  return context.endpoint == openai_endpoint::chat_completions;
}

void append_head(std::string& out, const openai_reply_context& context, std::string_view object) {
  out += "{\"id\":";
  append_json_string(out, context.id);
  out += ",\"object\":";
  append_json_string(out, object);
  out += ",\"created\":";
  append_json_number(out, context.created);
  out += ",\"model\":";
  append_json_string(out, context.model);
  out += ",\"choices\":[";
}

void append_optional(std::string& out, const std::optional<std::string>& text) {
  if (text) {
    append_json_string(out, *text);
  } else {
    out += "null";
  }
}

void append_usage(std::string& out, const openai_usage& usage) {
  out += ",\"usage\":{\"prompt_tokens\":";
  append_json_number(out, usage.prompt_tokens);
  out += ",\"total_tokens\":";
  append_json_number(out, usage.prompt_tokens + usage.completion_tokens);
  out += ",\"completion_tokens\":";
  append_json_number(out, usage.completion_tokens);
  out += ",\"prompt_tokens_details\":{\"cached_tokens\":";
  append_json_number(out, usage.cached_tokens);
  out += "}}";
}

void append_ending(std::string& out, const std::optional<std::string>& finish_reason,
                   const std::optional<std::string>& stop_reason) {
  out += ",\"finish_reason\":";
  append_optional(out, finish_reason);
  out += ",\"stop_reason\":";
  append_optional(out, stop_reason);
}

void append_logprobs(std::string& out, const openai_reply_context& context,
                     const completion_logprobs& part) {
  out += ",\"logprobs\":";
  if (!context.wants_logprobs) {
    out += "null";
  } else if (is_chat(context)) {
    append_chat_logprobs(out, part.output);
  } else {
    append_completion_logprobs(out, part);
  }
}

void append_prompt_report(std::string& out, const std::vector<position_logprobs>& positions) {
  out += ",\"prompt_logprobs\":";
  if (positions.empty()) {
    out += "null";
  } else {
    append_prompt_logprobs(out, positions);
  }
}

void append_choice(std::string& out, const openai_reply_context& context,
                   const openai_choice& choice) {
  out += "{\"index\":";
  append_json_number(out, std::uint64_t{choice.index});
  if (is_chat(context)) {
    out += ",\"message\":{\"role\":\"assistant\",\"content\":";
    append_json_string(out, choice.text);
    out += ",\"refusal\":null,\"reasoning_content\":null,\"tool_calls\":[]}";
  } else {
    out += ",\"text\":";
    append_json_string(out, choice.text);
  }
  const std::string_view first_token = choice.first_prompt_token;
  append_logprobs(out, context,
                  {.first_token = context.echo ? &first_token : nullptr,
                   .prompt = choice.prompt_logprobs,
                   .output = choice.logprobs,
                   .text_offset = 0});
  append_ending(out, choice.finish_reason, choice.stop_reason);
  if (!is_chat(context)) append_prompt_report(out, choice.prompt_logprobs);
  out += '}';
}

std::string_view chunk_object(const openai_reply_context& context) {
  return is_chat(context) ? "chat.completion.chunk" : "text_completion";
}

}  // namespace

std::string openai_reply(const openai_reply_context& context,
                         const std::vector<openai_choice>& choices, const openai_usage& usage) {
  std::string out;
  append_head(out, context, is_chat(context) ? "chat.completion" : "text_completion");
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) out += ',';
    append_choice(out, context, choices[i]);
  }
  out += ']';
  append_usage(out, usage);
  // A chat has one prompt: its report stands beside the choices.
  if (is_chat(context) && !choices.empty()) {
    append_prompt_report(out, choices.front().prompt_logprobs);
  }
  out += '}';
  return out;
}

std::string openai_chunk(const openai_reply_context& context, std::uint32_t choice_index,
                         const delta& part, bool first, const openai_usage* usage,
                         std::size_t text_offset) {
  std::string out = "data: ";
  append_head(out, context, chunk_object(context));
  out += "{\"index\":";
  append_json_number(out, std::uint64_t{choice_index});
  if (is_chat(context)) {
    out += first ? ",\"delta\":{\"role\":\"assistant\",\"content\":" : ",\"delta\":{\"content\":";
    append_json_string(out, part.text);
    out += '}';
  } else {
    out += ",\"text\":";
    append_json_string(out, part.text);
  }
  // A stream does not know the text of prompt token 0; its row is there, with an empty text.
  const std::string_view first_token;
  append_logprobs(out, context,
                  {.first_token = context.echo && first ? &first_token : nullptr,
                   .prompt = part.prompt_logprobs,
                   .output = part.logprobs,
                   .text_offset = text_offset});
  append_ending(out, part.finish_reason, part.stop_reason);
  out += "}]";
  if (usage != nullptr) append_usage(out, *usage);
  out += "}\n\n";
  return out;
}

std::string openai_usage_chunk(const openai_reply_context& context, const openai_usage& usage) {
  std::string out = "data: ";
  append_head(out, context, chunk_object(context));
  out += ']';
  append_usage(out, usage);
  out += "}\n\n";
  return out;
}

}  // namespace troupe
