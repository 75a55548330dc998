#include "runtime/text/vocabulary.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "config/limits.hpp"

namespace troupe {
namespace {

constexpr std::string_view tokens_key = "tokenizer.ggml.tokens";
constexpr std::string_view types_key = "tokenizer.ggml.token_type";
constexpr std::string_view scores_key = "tokenizer.ggml.scores";
constexpr std::string_view merges_key = "tokenizer.ggml.merges";

// Tokens that end a turn in published chat formats. Files often name only one of those that their
// model emits, so these count wherever the vocabulary has them.
constexpr std::array<std::string_view, 10> turn_ends = {
    "<|im_end|>",    "<|eot_id|>", "<|eom_id|>",      "<|endoftext|>", "<|end_of_text|>",
    "<end_of_turn>", "<|end|>",    "<|end_of_turn|>", "<EOT>",         "<end_of_utterance>",
};

error corrupt(std::string message) {
  return {errc::corrupt, std::move(message)};
}

// An absent key is an empty optional; anything but absence is passed on.
template <class T>
result<std::optional<T>> optional_value(const gguf_file& file, std::string_view key,
                                        result<T> (gguf_file::*get)(std::string_view) const) {
  if (file.find(key) == nullptr) return std::optional<T>{};
  TROUPE_TRY(T value, (file.*get)(key));
  return std::optional<T>(std::move(value));
}

result<std::optional<token_id>> optional_id(const gguf_file& file, std::string_view key,
                                            std::size_t vocab_size) {
  TROUPE_TRY(auto value, optional_value(file, key, &gguf_file::get_unsigned));
  if (!value) return std::optional<token_id>{};
  if (*value >= vocab_size) {
    return corrupt(
        fmt::format("{} is {}, but the vocabulary has {} tokens", key, *value, vocab_size));
  }
  return std::optional<token_id>(static_cast<token_id>(*value));
}

result<> read_tokens(const gguf_file& file, vocabulary& out) {
  TROUPE_TRY(const auto* tokens, file.get_strings(tokens_key));
  if (tokens->empty()) return corrupt(fmt::format("{} is empty", tokens_key));
  if (tokens->size() > limits::model_vocab_size_max) {
    return error{errc::unsupported,
                 fmt::format("{} has {} tokens; at most {} are supported", tokens_key,
                             tokens->size(), limits::model_vocab_size_max)};
  }
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    if ((*tokens)[i].size() > limits::token_text_bytes_max) {
      return error{errc::unsupported,
                   fmt::format("{}[{}] is {} bytes long; at most {} are supported", tokens_key, i,
                               (*tokens)[i].size(), limits::token_text_bytes_max)};
    }
  }
  out.texts = *tokens;
  out.ids.reserve(out.texts.size());
  for (std::size_t i = 0; i < out.texts.size(); ++i) {
    out.ids.insert_or_assign(out.texts[i], static_cast<token_id>(i));
  }
  return {};
}

result<> check_length(std::string_view key, std::size_t count, std::size_t expected) {
  if (count == expected) return {};
  return corrupt(
      fmt::format("{} has {} elements, but {} has {}", key, count, tokens_key, expected));
}

template <class Integer>
result<> store_kinds(const std::vector<Integer>& types, vocabulary& out) {
  TROUPE_TRY_VOID(check_length(types_key, types.size(), out.size()));
  for (std::size_t i = 0; i < types.size(); ++i) {
    // 0 is "undefined" in the format; writers use it for ordinary tokens.
    const Integer type = types[i] == 0 ? Integer{1} : types[i];
    if (type < 1 || type > 6) {
      return corrupt(fmt::format("{}[{}] is {}; 1 to 6 are known", types_key, i, types[i]));
    }
    out.kinds[i] = static_cast<token_kind>(type);
  }
  return {};
}

result<> read_kinds(const gguf_file& file, vocabulary& out) {
  out.kinds.assign(out.size(), token_kind::normal);
  const gguf_value* value = file.find(types_key);
  if (value == nullptr) return {};
  if (const auto* types = std::get_if<std::vector<std::int64_t>>(value)) {
    return store_kinds(*types, out);
  }
  if (const auto* types = std::get_if<std::vector<std::uint64_t>>(value)) {
    return store_kinds(*types, out);
  }
  return corrupt(fmt::format("{} is not an array of integers", types_key));
}

result<> read_scores(const gguf_file& file, vocabulary& out) {
  const gguf_value* value = file.find(scores_key);
  if (value == nullptr) return {};
  const auto* scores = std::get_if<std::vector<double>>(value);
  if (scores == nullptr) return corrupt(fmt::format("{} is not an array of floats", scores_key));
  TROUPE_TRY_VOID(check_length(scores_key, scores->size(), out.size()));
  out.scores.reserve(scores->size());
  for (std::size_t i = 0; i < scores->size(); ++i) {
    if (!std::isfinite((*scores)[i])) {
      return corrupt(fmt::format("{}[{}] is not a finite number", scores_key, i));
    }
    out.scores.push_back(static_cast<float>((*scores)[i]));
  }
  return {};
}

result<> read_ids(const gguf_file& file, vocabulary& out) {
  const auto id = [&](std::string_view name) {
    return optional_id(file, fmt::format("tokenizer.ggml.{}_token_id", name), out.size());
  };
  TROUPE_TRY(out.bos, id("bos"));
  TROUPE_TRY(out.eos, id("eos"));
  TROUPE_TRY(out.unknown, id("unknown"));
  TROUPE_TRY(out.padding, id("padding"));
  TROUPE_TRY(const auto turn_end, id("eot"));
  TROUPE_TRY(const auto message_end, id("eom"));

  std::vector<token_id>& ends = out.end_of_generation;
  for (const auto& end : {out.eos, turn_end, message_end}) {
    if (end) ends.push_back(*end);
  }
  for (const std::string_view text : turn_ends) {
    if (const auto end = out.find(text)) ends.push_back(*end);
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());

  // Files mislabel these as ordinary tokens; user text must never become one of them.
  for (const token_id end : ends) out.kinds[to_index(end)] = token_kind::control;
  if (out.bos) out.kinds[to_index(*out.bos)] = token_kind::control;
  return {};
}

}  // namespace

std::optional<token_id> vocabulary::find(std::string_view text) const {
  const auto found = ids.find(text);
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

result<std::unique_ptr<vocabulary>> read_vocabulary(const gguf_file& file) {
  auto out = std::make_unique<vocabulary>();
  TROUPE_TRY(out->model, file.get_string("tokenizer.ggml.model"));
  TROUPE_TRY(auto pre, optional_value(file, "tokenizer.ggml.pre", &gguf_file::get_string));
  out->pre_tokenizer = pre.value_or("default");
  TROUPE_TRY_VOID(read_tokens(file, *out));
  TROUPE_TRY_VOID(read_kinds(file, *out));
  TROUPE_TRY_VOID(read_scores(file, *out));
  TROUPE_TRY_VOID(read_ids(file, *out));
  if (file.find(merges_key) != nullptr) {
    TROUPE_TRY(const auto* merges, file.get_strings(merges_key));
    out->merges = *merges;
  }
  TROUPE_TRY(out->add_bos,
             optional_value(file, "tokenizer.ggml.add_bos_token", &gguf_file::get_bool));
  TROUPE_TRY(out->add_eos,
             optional_value(file, "tokenizer.ggml.add_eos_token", &gguf_file::get_bool));
  TROUPE_TRY(out->add_space_prefix,
             optional_value(file, "tokenizer.ggml.add_space_prefix", &gguf_file::get_bool));
  return out;
}

}  // namespace troupe
