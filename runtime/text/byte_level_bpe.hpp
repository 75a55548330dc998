// Byte-level BPE (GPT-2 and its heirs): bytes are tokens, pieces of a pre-tokenizer merge on their
// own. Vocabularies spell bytes as printable characters; that alphabet ends here, pieces are raw
// bytes.
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
#include "runtime/text/pre_tokenizer.hpp"
#include "runtime/text/vocabulary.hpp"

namespace troupe {

/// How one family of models prepares its text; tokenizer.ggml.pre names it.
struct byte_level_rules {
  split_rule split = split_rule::gpt2;
  bool normalize_nfc = false;
  bool whole_pieces_first = false;  ///< a piece that is a token needs no merges (HF: ignore_merges)
  bool add_bos = false;             ///< where the file does not say
};

/// unsupported for a name that is not known, listing those that are.
result<byte_level_rules> find_byte_level_rules(std::string_view pre_tokenizer);

class byte_level_bpe {
 public:
  /// The vocabulary must outlive the object.
  static result<byte_level_bpe> create(const vocabulary& words, const byte_level_rules& rules);

  /// Appends the tokens of valid UTF-8 without added tokens. A byte that the vocabulary lacks is
  /// dropped, as Hugging Face `tokenizers` does.
  void encode(std::string_view text, std::vector<token_id>& out) const;

  /// The bytes that a vocabulary's spelling stands for; the spelling itself where it uses a
  /// character outside of the alphabet.
  static std::string bytes_of(std::string_view spelling);

 private:
  byte_level_rules rules_;
  bpe_merges merges_;
  std::array<std::optional<token_id>, 256> byte_tokens_;
  std::unordered_map<std::string, token_id> whole_pieces_;  // empty unless whole_pieces_first
};

}  // namespace troupe
