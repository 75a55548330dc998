// UTF-8 in and out. Broken input is never an error: every maximal invalid part becomes one U+FFFD,
// the practice of the Unicode Standard (section 3.9, "U+FFFD substitution of maximal subparts"),
// which is also what Python's decode(errors="replace") does.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace troupe {

struct utf8_char {
  char32_t code = 0;
  std::size_t length_bytes = 0;
};

/// The character at text[position], for text that is known to be valid and position < text.size().
utf8_char utf8_decode(std::string_view text, std::size_t position) noexcept;

void utf8_append(std::string& text, char32_t code);

/// Bytes in pieces of any length to valid UTF-8: a character that is not complete yet waits for its
/// remaining bytes (at most 3 are held).
class utf8_stream {
 public:
  /// The text that `bytes` completes.
  std::string push(std::string_view bytes);
  /// What was held back can no longer complete: U+FFFD, or nothing.
  std::string finish();
  [[nodiscard]] std::size_t held_bytes() const noexcept { return held_count_; }

 private:
  void push_byte(std::string& out, unsigned char byte);

  char held_[4] = {};
  std::size_t held_count_ = 0;
  std::size_t expected_count_ = 0;  // bytes of the character that the held lead byte began
};

[[nodiscard]] bool utf8_is_valid(std::string_view bytes) noexcept;

/// All of `bytes` at once, as utf8_stream would give it.
std::string utf8_repair(std::string_view bytes);

}  // namespace troupe
