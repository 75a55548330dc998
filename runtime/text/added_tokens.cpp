#include "runtime/text/added_tokens.hpp"

#include "kernels/base/check.hpp"

namespace troupe {

void added_tokens::add(std::string_view text, token_id id, bool special) {
  TROUPE_CHECK(!text.empty());
  std::size_t at = 0;
  for (const char byte : text) {
    const auto [entry, is_new] = edges_.emplace(edge(at, byte), nodes_.size());
    if (is_new) nodes_.emplace_back();
    at = entry->second;
  }
  nodes_[at] = {id, special};
  begins_[static_cast<unsigned char>(text.front())] = true;
  has_plain_ = has_plain_ || !special;
}

std::optional<added_tokens::match> added_tokens::longest_at(std::string_view text,
                                                            std::size_t begin) const {
  std::optional<match> longest;
  std::size_t at = 0;
  for (std::size_t i = begin; i < text.size(); ++i) {
    const auto next = edges_.find(edge(at, text[i]));
    if (next == edges_.end()) break;
    at = next->second;
    if (nodes_[at].id) longest = match{begin, i + 1, *nodes_[at].id, nodes_[at].special};
  }
  return longest;
}

std::optional<added_tokens::match> added_tokens::find(std::string_view text, std::size_t position,
                                                      bool parse_special) const {
  if (!parse_special && !has_plain_) return std::nullopt;
  while (position < text.size()) {
    if (!begins_[static_cast<unsigned char>(text[position])]) {
      ++position;
      continue;
    }
    const auto found = longest_at(text, position);
    if (!found) {
      ++position;
      continue;
    }
    if (parse_special || !found->special) return found;
    position = found->end;
  }
  return std::nullopt;
}

}  // namespace troupe
