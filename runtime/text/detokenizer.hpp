// Tokens to text while they are generated. A character goes out whole: bytes that begin one wait
// for the tokens that complete it. All pushes and the finish together are tokenizer::decode of all
// ids.
#pragma once

#include <memory>
#include <string>

#include "runtime/text/tokenizer.hpp"
#include "runtime/text/utf8.hpp"

namespace troupe {

struct detokenizer_options {
  bool skip_special = true;
  /// The tokens go on from a prompt: a leading space belongs to the text. Otherwise a SentencePiece
  /// tokenizer's leading space is the one that encode added, and is dropped as decode does.
  bool continues_prompt = false;
};

class detokenizer {
 public:
  detokenizer(std::shared_ptr<const tokenizer> tokens, detokenizer_options options);

  /// The text that this token completes, often empty inside of an emoji.
  std::string push(token_id id);
  /// No more tokens: an incomplete character becomes U+FFFD.
  std::string finish();

 private:
  std::shared_ptr<const tokenizer> tokens_;
  detokenizer_options options_;
  utf8_stream stream_;
  bool drop_space_;  // the next byte, if it is a space, is the prefix
};

}  // namespace troupe
