// Cuts text into the pieces inside which byte-level BPE may merge. Each rule gives exactly the
// pieces of one published regular expression, but is written as a scanner: a fixed number of passes
// over any run of characters, so no text makes it slow, and no engine's stack or match limit can be
// reached.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace troupe {

enum class split_rule : std::uint8_t {
  /// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  gpt2,
  /// Every \p{N} alone, and between them gpt2, where a number's place counts as the end of the
  /// text.
  smollm,
  /// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*
  /// |\s*[\r\n]+|\s+(?!\S)|\s+
  qwen2,
  /// As qwen2, with \p{N}{1,3}.
  llama3,
};

/// Where the piece that starts at `position` ends. `text` is valid UTF-8 and position <
/// text.size(); position is 0 or what an earlier call returned.
std::size_t piece_end(split_rule rule, std::string_view text, std::size_t position) noexcept;

}  // namespace troupe
