// What a pre-tokenizer asks about a character, and NFC. Unicode 16.0, the version of the regular
// expressions in Hugging Face `tokenizers`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace troupe {

/// The classes that the pre-tokenizers' patterns distinguish; each character has exactly one.
enum class char_class : std::uint8_t {
  other,       ///< [^\s\p{L}\p{N}]: punctuation, symbols, marks, controls, unassigned
  letter,      ///< \p{L}
  number,      ///< \p{N}
  whitespace,  ///< \s (the White_Space property)
};

char_class classify(char32_t code) noexcept;

/// Unicode normalization form C (UAX #15) of valid UTF-8, in O(n log n) for any run of marks.
std::string to_nfc(std::string_view text);

}  // namespace troupe
