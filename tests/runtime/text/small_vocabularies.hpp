// Vocabularies small enough to follow by hand, as metadata that a test can add to or break.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/model/gguf.hpp"
#include "runtime/text/tokenizer.hpp"
#include "tests/runtime/text/gguf_bytes.hpp"

namespace troupe::test {

struct small_vocabulary {
  std::string model = "gpt2";
  std::string pre = "gpt-2";
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  std::vector<float> scores;
  std::vector<std::string> merges;

  void add(std::string text, std::int32_t type = 1, float score = 0) {
    tokens.push_back(std::move(text));
    types.push_back(type);
    scores.push_back(score);
  }
  void add_merge(const std::string& left, const std::string& right) {
    merges.push_back(left + " " + right);
    add(left + right);
  }

  /// Everything but scores and merges where the kind has none; the ids of bos and eos are the
  /// caller's.
  [[nodiscard]] gguf_bytes metadata() const {
    gguf_bytes file;
    file.text("tokenizer.ggml.model", model).text("tokenizer.ggml.pre", pre);
    file.texts("tokenizer.ggml.tokens", tokens).numbers("tokenizer.ggml.token_type", types);
    if (model == "llama") file.floats("tokenizer.ggml.scores", scores);
    if (!merges.empty()) file.texts("tokenizer.ggml.merges", merges);
    return file;
  }
};

/// One byte as byte-level vocabularies spell it (GPT-2's bytes_to_unicode, written out once more).
inline std::string spelled_byte(int byte) {
  const auto printable = [](int b) {
    return (b > 0x20 && b < 0x7F) || (b > 0xA0 && b < 0xAD) || b > 0xAD;
  };
  int code = byte;
  if (!printable(byte)) {
    code = 256;
    for (int other = 0; other < byte; ++other) code += printable(other) ? 0 : 1;
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

/// Ids 0..255 are the bytes; then the merges he ll hell "Ġw" and doubled spaces; 261 <|im_end|> is
/// control, 262 <think> and 263 <think>! user-defined.
inline small_vocabulary byte_level_vocabulary(std::string pre) {
  small_vocabulary words;
  words.pre = std::move(pre);
  for (int byte = 0; byte < 256; ++byte) words.add(spelled_byte(byte));
  words.add_merge("h", "e");
  words.add_merge("l", "l");
  words.add_merge("he", "ll");
  words.add_merge("\xC4\xA0", "w");
  words.add_merge("\xC4\xA0", "\xC4\xA0");
  words.add("<|im_end|>", 3);
  words.add("<think>", 4);
  words.add("<think>!", 4);
  return words;
}

/// <unk> <s> </s>, 256 byte tokens from id 3, then words with scores.
inline small_vocabulary sentencepiece_vocabulary() {
  small_vocabulary words;
  words.model = "llama";
  words.pre = "default";
  words.add("<unk>", 2);
  words.add("<s>", 3);
  words.add("</s>", 3);
  constexpr std::string_view digits = "0123456789ABCDEF";
  for (std::size_t byte = 0; byte < 256; ++byte) {
    words.add(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", 6);
  }
  float score = -1;
  for (const char* text : {"ab", "abc", "bc",
                           "\xE2\x96\x81"
                           "a",
                           "\xE2\x96\x81", "a", "b", "c"}) {
    words.add(text, 1, score--);
  }
  return words;
}

inline result<std::shared_ptr<const tokenizer>> load(const gguf_bytes& metadata) {
  const std::vector<std::byte> bytes = metadata.bytes();
  TROUPE_TRY(const auto file, gguf_file::parse(bytes, "test"));
  return tokenizer::from_gguf(file);
}

}  // namespace troupe::test
