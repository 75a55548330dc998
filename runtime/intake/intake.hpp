// From a client's submit to tokens: validation, chat template, tokenizing, fitting to the context.
// Const and thread-safe; the gateway calls it on its tokenizer threads, the embedded API and tests
// directly.
//
// As transformers and vLLM do, the text of a special token (<|im_end|>) becomes that token, in raw
// prompts too; add_special_tokens is for raw prompts alone, because a chat template writes BOS
// itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/index_types.hpp"
#include "kernels/base/result.hpp"
#include "runtime/decode/generation_params.hpp"
#include "runtime/messages/request.hpp"
#include "runtime/messages/validate.hpp"
#include "runtime/text/chat_template.hpp"
#include "runtime/text/tokenizer.hpp"

namespace troupe {

struct prepared_prompt {
  std::shared_ptr<const std::vector<token_id>> tokens;
  std::shared_ptr<const generation_params> params;
};

class intake {
 public:
  /// chat may be null: then `messages` are refused with an error that says why.
  intake(std::shared_ptr<const tokenizer> tokens, std::shared_ptr<const chat_template> chat,
         request_bounds bounds);

  /// drawn_seed is used where the client gave none. now: for templates that print the date.
  result<prepared_prompt> prepare(const submit& request, std::uint64_t drawn_seed,
                                  std::chrono::sys_seconds now) const;

  /// The prompt's ids without validating sampling parameters (POST /tokenize).
  result<std::vector<token_id>> tokenize(const submit& request, std::chrono::sys_seconds now) const;

  /// The text of ids, special tokens included (POST /detokenize). Error: an id outside of the
  /// vocabulary.
  result<std::string> detokenize(const std::vector<std::int64_t>& ids) const;

  [[nodiscard]] const tokenizer& tokens() const { return *tokens_; }
  [[nodiscard]] const request_bounds& bounds() const { return bounds_; }

 private:
  result<std::string> render(const submit& request, std::chrono::sys_seconds now) const;

  std::shared_ptr<const tokenizer> tokens_;
  std::shared_ptr<const chat_template> chat_;
  request_bounds bounds_;
};

}  // namespace troupe
