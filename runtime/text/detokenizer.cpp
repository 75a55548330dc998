#include "runtime/text/detokenizer.hpp"

#include <string_view>
#include <utility>

namespace troupe {

detokenizer::detokenizer(std::shared_ptr<const tokenizer> tokens, detokenizer_options options)
    : tokens_(std::move(tokens)),
      options_(options),
      drop_space_(tokens_->adds_space_prefix() && !options.continues_prompt) {}

std::string detokenizer::push(token_id id) {
  if (options_.skip_special && tokens_->is_special(id)) return {};
  std::string_view piece = tokens_->piece(id);
  if (piece.empty()) return {};
  if (std::exchange(drop_space_, false) && piece.front() == ' ') piece.remove_prefix(1);
  return stream_.push(piece);
}

std::string detokenizer::finish() {
  return stream_.finish();
}

}  // namespace troupe
