// Finds the tokens that are matched in the text itself, before any pre-tokenizer: control tokens
// (<|im_start|>) and user-defined ones. Leftmost match, then the longest, as in Hugging Face
// `tokenizers`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kernels/base/index_types.hpp"

namespace troupe {

class added_tokens {
 public:
  struct match {
    std::size_t begin = 0, end = 0;
    token_id id{};
    bool special = false;
  };

  /// `text` is not empty. A text that is added again gets the later id.
  void add(std::string_view text, token_id id, bool special);

  /// The next match at or after `position`. Without parse_special, special tokens are stepped over
  /// as a whole: what is inside them is plain text. O(n x longest token).
  [[nodiscard]] std::optional<match> find(std::string_view text, std::size_t position,
                                          bool parse_special) const;

 private:
  struct node {
    std::optional<token_id> id;
    bool special = false;
  };
  [[nodiscard]] std::optional<match> longest_at(std::string_view text, std::size_t begin) const;

  static constexpr std::uint64_t edge(std::uint64_t from, char byte) {
    return from << 8 | static_cast<unsigned char>(byte);
  }

  std::vector<node> nodes_ = std::vector<node>(1);  // a trie; nodes_[0] is its root
  std::unordered_map<std::uint64_t, std::size_t> edges_;
  bool begins_[256] = {};   // the first bytes of all tokens
  bool has_plain_ = false;  // some token is not special
};

}  // namespace troupe
