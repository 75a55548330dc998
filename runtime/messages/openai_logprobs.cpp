// Written column by column or entry by entry, straight into text.
#include "runtime/messages/openai_logprobs.hpp"

#include <algorithm>

#include "runtime/messages/json_text.hpp"
#include "runtime/messages/text_check.hpp"

namespace troupe {
namespace {

// JSON has no infinity: vLLM writes -9999 for an impossible token.
void append_logprob(std::string& out, double logprob) {
  append_json_number(out, std::max(logprob, -9999.0));
}

// The chosen token is reported even where it is not among the most probable ones.
template <class Visitor>
void for_each_alternative(const position_logprobs& position, Visitor&& visit) {
  bool chosen_seen = false;
  for (const logprob_entry& entry : position.top) {
    visit(entry);
    chosen_seen = chosen_seen || entry.token_id == position.chosen.token_id;
  }
  if (!chosen_seen) visit(position.chosen);
}

// Four arrays grow side by side; the caller joins them.
struct columns {
  std::string offsets, logprobs, tokens, tops;
  std::size_t offset = 0;

  void begin_row() {
    if (offsets.empty()) return;
    for (std::string* column : {&offsets, &logprobs, &tokens, &tops}) *column += ',';
  }

  void add_token(std::string_view token) {
    append_json_number(offsets, std::uint64_t{offset});
    append_json_string(tokens, token);
    offset += utf8_length(token);
  }

  void add(const position_logprobs& position) {
    begin_row();
    add_token(position.chosen.token);
    append_logprob(logprobs, position.chosen.logprob);
    tops += '{';
    bool first = true;
    for_each_alternative(position, [&](const logprob_entry& entry) {
      if (!first) tops += ',';
      first = false;
      append_json_string(tops, entry.token);
      tops += ':';
      append_logprob(tops, entry.logprob);
    });
    tops += '}';
  }
};

void append_chat_entry(std::string& out, const logprob_entry& entry) {
  out += "\"token\":";
  append_json_string(out, entry.token);
  out += ",\"logprob\":";
  append_logprob(out, entry.logprob);
  out += ",\"bytes\":[";
  for (std::size_t i = 0; i < entry.bytes.size(); ++i) {
    if (i > 0) out += ',';
    append_json_number(out, std::uint64_t{entry.bytes[i]});
  }
  out += ']';
}

}  // namespace

void append_completion_logprobs(std::string& out, const completion_logprobs& part) {
  columns rows;
  rows.offset = part.text_offset;
  if (part.first_token != nullptr) {
    rows.add_token(*part.first_token);
    rows.logprobs += "null";
    rows.tops += "null";
    for (const position_logprobs& position : part.prompt) rows.add(position);
  }
  for (const position_logprobs& position : part.output) rows.add(position);
  out += "{\"text_offset\":[" + rows.offsets + "],\"token_logprobs\":[" + rows.logprobs +
         "],\"tokens\":[" + rows.tokens + "],\"top_logprobs\":[" + rows.tops + "]}";
}

void append_chat_logprobs(std::string& out, std::span<const position_logprobs> positions) {
  out += "{\"content\":[";
  for (std::size_t i = 0; i < positions.size(); ++i) {
    out += i > 0 ? ",{" : "{";
    append_chat_entry(out, positions[i].chosen);
    out += ",\"top_logprobs\":[";
    for (std::size_t j = 0; j < positions[i].top.size(); ++j) {
      out += j > 0 ? ",{" : "{";
      append_chat_entry(out, positions[i].top[j]);
      out += '}';
    }
    out += "]}";
  }
  out += "]}";
}

void append_prompt_logprobs(std::string& out, std::span<const position_logprobs> positions) {
  out += "[null";
  for (const position_logprobs& position : positions) {
    out += ",{";
    bool first = true;
    for_each_alternative(position, [&](const logprob_entry& entry) {
      out += first ? "\"" : ",\"";
      first = false;
      append_json_number(out, entry.token_id);
      out += "\":{\"logprob\":";
      append_logprob(out, entry.logprob);
      out += ",\"rank\":";
      append_json_number(out, entry.rank);
      out += ",\"decoded_token\":";
      append_json_string(out, entry.token);
      out += '}';
    });
    out += '}';
  }
  out += ']';
}

}  // namespace troupe
