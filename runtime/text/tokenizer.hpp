// Text to token ids and back, for the tokenizer that a GGUF file carries. Ids equal those of
// Hugging Face `tokenizers` with the model's published settings;
// tests/python/test_tokenizer_oracle.py holds it to that. Everything here is const and safe to
// share between threads.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/index_types.hpp"
#include "kernels/base/result.hpp"
#include "runtime/model/gguf.hpp"

namespace troupe {

class tokenizer {
 public:
  struct encode_options {
    /// Whether the text of a control token (<|im_start|>) becomes that token. For rendered chat
    /// templates; never for what a user wrote. User-defined tokens are matched either way.
    bool parse_special = false;
    /// Adds the beginning and end tokens that the file asks for.
    bool add_special = true;
  };

  /// Reads tokenizer.ggml.*: byte-level BPE ("gpt2") and SentencePiece BPE ("llama"). Errors name
  /// the key: not_found, corrupt, unsupported.
  static result<std::shared_ptr<const tokenizer>> from_gguf(const gguf_file& file);

  ~tokenizer();
  tokenizer(const tokenizer&) = delete;
  tokenizer& operator=(const tokenizer&) = delete;

  /// Any bytes up to limits::tokenizer_text_bytes_max, in O(n log n). Broken UTF-8 reads as U+FFFD
  /// (utf8.hpp).
  [[nodiscard]] std::vector<token_id> encode(std::string_view text, encode_options options) const;

  /// The raw bytes of a token, perhaps a part of a character. A special token's are its text. Empty
  /// for an id outside of the vocabulary, so that a caller need not check what a client sent.
  [[nodiscard]] std::string_view piece(token_id id) const noexcept;

  /// Valid UTF-8: what is no character becomes U+FFFD. Without the space that encode put in front.
  [[nodiscard]] std::string decode(std::span<const token_id> ids, bool skip_special) const;

  /// Control and unknown tokens: those that decode leaves out with skip_special.
  [[nodiscard]] bool is_special(token_id id) const noexcept;
  [[nodiscard]] bool is_end_of_generation(token_id id) const noexcept;

  [[nodiscard]] std::size_t vocab_size() const noexcept;
  [[nodiscard]] std::optional<token_id> bos() const noexcept;
  [[nodiscard]] std::optional<token_id> eos() const noexcept;
  [[nodiscard]] std::optional<token_id> padding() const noexcept;
  [[nodiscard]] std::optional<token_id> unknown() const noexcept;
  /// Ascending: eos, eot, eom, and texts known to end a turn (<|im_end|>, <|eot_id|>, ...).
  [[nodiscard]] const std::vector<token_id>& end_of_generation() const noexcept;
  [[nodiscard]] bool adds_bos() const noexcept;
  [[nodiscard]] bool adds_eos() const noexcept;
  /// Whether encode puts a space in front of a text, which decode takes away again.
  [[nodiscard]] bool adds_space_prefix() const noexcept;

  /// By the text as the file spells it: find("<|im_end|>").
  [[nodiscard]] std::optional<token_id> find(std::string_view token_text) const;
  /// As the file spells it; empty for an id outside of the vocabulary.
  [[nodiscard]] std::string_view token_text(token_id id) const noexcept;

 private:
  struct state;
  explicit tokenizer(std::unique_ptr<const state> owned);
  std::unique_ptr<const state> state_;
};

}  // namespace troupe
