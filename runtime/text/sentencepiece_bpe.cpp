// SentencePiece has no list of merges: any two neighbours whose concatenation is a token may merge,
// best score first (Kudo and Richardson, 2018). That relation is computed once, as a table of
// pairs.
#include "runtime/text/sentencepiece_bpe.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/text/utf8.hpp"

namespace troupe {
namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";  // U+2581
constexpr char32_t space_mark_code = 0x2581;

// The value of "<0x0A>"; -1 for any other text.
int byte_value(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  int value = 0;
  for (const char digit : text.substr(3, 2)) {
    value *= 16;
    if (digit >= '0' && digit <= '9') {
      value += digit - '0';
    } else if (digit >= 'A' && digit <= 'F') {
      value += digit - 'A' + 10;
    } else {
      return -1;
    }
  }
  return value;
}

// Tokens that text can merge into: not <s>, not <unk>, not <0x0A>.
bool is_mergeable(const vocabulary& words, std::size_t index) {
  const token_kind kind = words.kinds[index];
  return kind != token_kind::control && kind != token_kind::unknown && kind != token_kind::byte &&
         byte_value(words.texts[index]) < 0;
}

// Token indices by descending score; merges of equal score follow the ids.
std::vector<std::size_t> best_first(const vocabulary& words) {
  std::vector<std::size_t> order(words.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return words.scores[a] > words.scores[b]; });
  return order;
}

std::optional<token_id> find_mergeable(const vocabulary& words, std::string_view text) {
  const auto id = words.find(text);
  return id && is_mergeable(words, to_index(*id)) ? id : std::nullopt;
}

result<bpe_merges> derive_merges(const vocabulary& words) {
  bpe_merges merges(words.size());
  std::uint32_t rank = 0;
  for (const std::size_t index : best_first(words)) {
    const std::string_view text = words.texts[index];
    if (!is_mergeable(words, index) || words.find(text) != static_cast<token_id>(index)) continue;
    if (text.size() > limits::token_piece_bytes_max) {
      return error{
          errc::unsupported,
          fmt::format("tokenizer.ggml.tokens[{}] is {} bytes long; at most {} are supported "
                      "in a vocabulary without merges",
                      index, text.size(), limits::token_piece_bytes_max)};
    }
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const auto left = find_mergeable(words, text.substr(0, cut));
      if (!left) continue;
      const auto right = find_mergeable(words, text.substr(cut));
      if (!right) continue;
      if (merges.size() == limits::token_merge_count_max) {
        return error{errc::unsupported,
                     fmt::format("tokenizer.ggml.tokens gives more than {} pairs that merge",
                                 limits::token_merge_count_max)};
      }
      merges.add(*left, *right, {rank, static_cast<token_id>(index)});
    }
    ++rank;
  }
  return merges;
}

}  // namespace

result<sentencepiece_bpe> sentencepiece_bpe::create(const vocabulary& words,
                                                    bool add_space_prefix) {
  if (words.scores.empty()) {
    return error{errc::not_found,
                 "tokenizer.ggml.scores is missing; a SentencePiece vocabulary needs it"};
  }
  sentencepiece_bpe model;
  model.add_space_prefix_ = add_space_prefix;
  model.unknown_ = words.unknown;
  TROUPE_TRY(model.merges_, derive_merges(words));
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& text = words.texts[i];
    const auto id = static_cast<token_id>(i);
    if (const int byte = byte_value(text); byte >= 0) {
      model.byte_tokens_[static_cast<std::size_t>(byte)] = id;
    } else if (is_mergeable(words, i) && !text.empty() && utf8_is_valid(text)) {
      const utf8_char c = utf8_decode(text, 0);
      if (c.length_bytes == text.size()) model.characters_[c.code] = id;
    }
  }
  return model;
}

std::string sentencepiece_bpe::bytes_of(std::string_view spelling) {
  if (const int byte = byte_value(spelling); byte >= 0) {
    return std::string(1, static_cast<char>(static_cast<unsigned char>(byte)));
  }
  std::string bytes;
  for (std::size_t i = 0; i < spelling.size();) {
    if (spelling.substr(i).starts_with(space_mark)) {
      bytes += ' ';
      i += space_mark.size();
    } else {
      bytes += spelling[i++];
    }
  }
  return bytes;
}

void sentencepiece_bpe::append_character(std::string_view character, char32_t code,
                                         std::vector<token_id>& tokens) const {
  if (const auto found = characters_.find(code); found != characters_.end()) {
    tokens.push_back(found->second);
    return;
  }
  const auto byte_token = [&](char byte) { return byte_tokens_[static_cast<unsigned char>(byte)]; };
  if (std::all_of(character.begin(), character.end(),
                  [&](char byte) { return byte_token(byte).has_value(); })) {
    for (const char byte : character) tokens.push_back(*byte_token(byte));
  } else if (unknown_ && (tokens.empty() || tokens.back() != *unknown_)) {
    tokens.push_back(*unknown_);
  }
}

void sentencepiece_bpe::encode(std::string_view text, std::vector<token_id>& out) const {
  if (text.empty()) return;
  std::vector<token_id> tokens;
  tokens.reserve(text.size() + 1);
  if (add_space_prefix_) append_character(space_mark, space_mark_code, tokens);
  for (std::size_t i = 0; i < text.size();) {
    const utf8_char c = utf8_decode(text, i);
    if (c.code == ' ') {
      append_character(space_mark, space_mark_code, tokens);
    } else {
      append_character(text.substr(i, c.length_bytes), c.code, tokens);
    }
    i += c.length_bytes;
  }
  merges_.apply(tokens);
  out.insert(out.end(), tokens.begin(), tokens.end());
}

}  // namespace troupe
