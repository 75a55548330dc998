// SentencePiece BPE (Llama 2, Mistral, Phi-3): no pre-tokenizer, spaces are U+2581, merges follow
// the tokens' scores, characters outside of the vocabulary fall back to byte tokens <0x00>..<0xFF>.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kernels/base/index_types.hpp"
#include "kernels/base/result.hpp"
#include "runtime/text/bpe_merges.hpp"
#include "runtime/text/vocabulary.hpp"

namespace troupe {

class sentencepiece_bpe {
 public:
  static result<sentencepiece_bpe> create(const vocabulary& words, bool add_space_prefix);

  /// Appends the tokens of valid UTF-8 without added tokens. A character that has neither a token
  /// nor all of its byte tokens is the unknown token, one for a run of them; dropped without such a
  /// token.
  void encode(std::string_view text, std::vector<token_id>& out) const;

  /// The bytes of a spelling: U+2581 is a space, <0x0A> a byte.
  static std::string bytes_of(std::string_view spelling);

 private:
  void append_character(std::string_view character, char32_t code,
                        std::vector<token_id>& tokens) const;

  bool add_space_prefix_ = true;
  bpe_merges merges_;
  std::unordered_map<char32_t, token_id> characters_;
  std::array<std::optional<token_id>, 256> byte_tokens_;
  std::optional<token_id> unknown_;
};

}  // namespace troupe
