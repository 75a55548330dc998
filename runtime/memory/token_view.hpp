// A sequence's tokens as one run of positions over two arrays: the prompt, which all sequences of a
// request share, and what this sequence generated. A view: it owns nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/base/check.hpp"
#include "kernels/base/index_types.hpp"

namespace troupe {

struct token_view {
  std::span<const token_id> prompt;
  std::span<const token_id> output;

  [[nodiscard]] std::uint32_t size() const {
    return static_cast<std::uint32_t>(prompt.size() + output.size());
  }
  [[nodiscard]] token_id operator[](std::size_t position) const {
    return position < prompt.size() ? prompt[position] : output[position - prompt.size()];
  }

  /// The tokens at positions first .. first + count - 1.
  [[nodiscard]] std::vector<token_id> copy(std::uint32_t first, std::uint32_t count) const {
    std::vector<token_id> tokens(count);
    copy_to(first, tokens);
    return tokens;
  }
  /// The same into a place of that many tokens.
  void copy_to(std::uint32_t first, std::span<token_id> target) const {
    TROUPE_CHECK(std::size_t{first} + target.size() <= size());
    const std::size_t from_prompt =
        first < prompt.size() ? std::min(target.size(), prompt.size() - first) : 0;
    std::copy_n(prompt.begin() + std::min<std::ptrdiff_t>(first, std::ssize(prompt)), from_prompt,
                target.begin());
    if (from_prompt < target.size()) {
      const std::size_t output_first = first + from_prompt - prompt.size();
      std::copy_n(output.begin() + static_cast<std::ptrdiff_t>(output_first),
                  target.size() - from_prompt,
                  target.begin() + static_cast<std::ptrdiff_t>(from_prompt));
    }
  }

  /// The same without an allocation: a span into the arrays where they hold the run in one piece,
  /// else `scratch`, filled. `scratch` has room for count tokens.
  [[nodiscard]] std::span<const token_id> contiguous(std::uint32_t first, std::uint32_t count,
                                                     std::span<token_id> scratch) const {
    if (std::size_t{first} + count <= prompt.size()) return prompt.subspan(first, count);
    if (first >= prompt.size()) return output.subspan(first - prompt.size(), count);
    copy_to(first, scratch.first(count));
    return scratch.first(count);
  }
};

}  // namespace troupe
