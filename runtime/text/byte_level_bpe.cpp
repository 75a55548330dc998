// The alphabet (GPT-2, encoder.py): printable Latin-1 characters stand for their own byte, the
// other 68 bytes in ascending order for U+0100 and up.
#include "runtime/text/byte_level_bpe.hpp"

#include <utility>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/text/unicode.hpp"
#include "runtime/text/utf8.hpp"

namespace troupe {
namespace {

constexpr std::string_view merges_key = "tokenizer.ggml.merges";

constexpr bool is_printable(std::size_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::size_t alphabet_end = 0x144;  // one past the largest letter

struct byte_alphabet {
  std::array<char32_t, 256> letter{};
  std::array<int, alphabet_end> byte{};  // -1 where the code point is no letter
};

constexpr byte_alphabet make_alphabet() {
  byte_alphabet alphabet;
  alphabet.byte.fill(-1);
  char32_t next = 0x100;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const char32_t letter = is_printable(byte) ? static_cast<char32_t>(byte) : next++;
    alphabet.letter[byte] = letter;
    alphabet.byte[letter] = static_cast<int>(byte);
  }
  return alphabet;
}

constexpr byte_alphabet alphabet = make_alphabet();

struct named_rules {
  std::string_view name;
  byte_level_rules rules;
};

constexpr byte_level_rules gpt2_rules{};
constexpr byte_level_rules smollm_rules{.split = split_rule::smollm};
constexpr byte_level_rules qwen2_rules{.split = split_rule::qwen2, .normalize_nfc = true};
constexpr byte_level_rules llama3_rules{
    .split = split_rule::llama3, .whole_pieces_first = true, .add_bos = true};

// Names by ggml; those in one line share pattern, normalization and merging.
constexpr named_rules known_rules[] = {
    {"default", gpt2_rules},     {"gpt-2", gpt2_rules},                                  //
    {"smollm", smollm_rules},    {"starcoder", smollm_rules}, {"refact", smollm_rules},  //
    {"qwen2", qwen2_rules},                                                              //
    {"llama-bpe", llama3_rules}, {"llama3", llama3_rules},    {"llama-v3", llama3_rules},
};

error bad_merge(std::size_t index, std::string_view merge, std::string_view problem) {
  return {errc::corrupt, fmt::format("{}[{}] (\"{}\"): {}", merges_key, index,
                                     utf8_repair(merge.substr(0, 80)), problem)};
}

result<bpe_merges> read_merges(const vocabulary& words) {
  if (words.merges.size() > limits::token_merge_count_max) {
    return error{errc::unsupported,
                 fmt::format("{} has {} merges; at most {} are supported", merges_key,
                             words.merges.size(), limits::token_merge_count_max)};
  }
  bpe_merges merges(words.merges.size());
  for (std::size_t i = 0; i < words.merges.size(); ++i) {
    const std::string& text = words.merges[i];
    const std::size_t space = text.find(' ');
    if (space == std::string::npos || space == 0 || space + 1 == text.size() ||
        text.find(' ', space + 1) != std::string::npos) {
      return bad_merge(i, text, "not two tokens with one space between");
    }
    const auto left = words.find(std::string_view(text).substr(0, space));
    const auto right = words.find(std::string_view(text).substr(space + 1));
    const auto joined = words.find(text.substr(0, space) + text.substr(space + 1));
    if (!left || !right || !joined) {
      return bad_merge(i, text, "names or makes a token that the vocabulary lacks");
    }
    merges.add(*left, *right, {static_cast<std::uint32_t>(i), *joined});
  }
  return merges;
}

}  // namespace

result<byte_level_rules> find_byte_level_rules(std::string_view pre_tokenizer) {
  std::string known;
  for (const auto& [name, rules] : known_rules) {
    if (name == pre_tokenizer) return rules;
    known += known.empty() ? "" : ", ";
    known += name;
  }
  return error{errc::unsupported, fmt::format("tokenizer.ggml.pre is \"{}\"; supported are: {}",
                                              pre_tokenizer, known)};
}

std::string byte_level_bpe::bytes_of(std::string_view spelling) {
  std::string bytes;
  if (!utf8_is_valid(spelling)) return std::string(spelling);
  for (std::size_t i = 0; i < spelling.size();) {
    const utf8_char c = utf8_decode(spelling, i);
    if (c.code >= alphabet_end || alphabet.byte[c.code] < 0) return std::string(spelling);
    bytes += static_cast<char>(static_cast<unsigned char>(alphabet.byte[c.code]));
    i += c.length_bytes;
  }
  return bytes;
}

result<byte_level_bpe> byte_level_bpe::create(const vocabulary& words,
                                              const byte_level_rules& rules) {
  if (words.merges.empty()) {
    return error{
        errc::corrupt,
        fmt::format("{} is missing or empty; a byte-level vocabulary needs it", merges_key)};
  }
  byte_level_bpe model;
  model.rules_ = rules;
  TROUPE_TRY(model.merges_, read_merges(words));
  for (std::size_t byte = 0; byte < 256; ++byte) {
    std::string letter;
    utf8_append(letter, alphabet.letter[byte]);
    model.byte_tokens_[byte] = words.find(letter);
  }
  if (rules.whole_pieces_first) {
    model.whole_pieces_.reserve(words.size());
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words.kinds[i] != token_kind::normal) continue;
      model.whole_pieces_.insert_or_assign(bytes_of(words.texts[i]), static_cast<token_id>(i));
    }
  }
  return model;
}

void byte_level_bpe::encode(std::string_view text, std::vector<token_id>& out) const {
  std::string normal;
  if (rules_.normalize_nfc) {
    normal = to_nfc(text);
    text = normal;
  }
  std::string key;
  std::vector<token_id> tokens;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = piece_end(rules_.split, text, begin);
    const std::string_view piece = text.substr(begin, end - begin);
    begin = end;
    if (!whole_pieces_.empty()) {
      const auto whole = whole_pieces_.find(key.assign(piece));
      if (whole != whole_pieces_.end()) {
        out.push_back(whole->second);
        continue;
      }
    }
    tokens.clear();
    for (const char byte : piece) {
      const auto& token = byte_tokens_[static_cast<unsigned char>(byte)];
      if (token) tokens.push_back(*token);
    }
    merges_.apply(tokens);
    out.insert(out.end(), tokens.begin(), tokens.end());
  }
}

}  // namespace troupe
