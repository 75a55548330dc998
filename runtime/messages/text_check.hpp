// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing past U+10FFFF.
#pragma once

#include <cstddef>
#include <string_view>

namespace troupe {

/// Bytes of the well-formed character at the start of `text`; 0 where there is none.
std::size_t utf8_character_bytes(std::string_view text) noexcept;

bool is_utf8(std::string_view text) noexcept;

/// Characters (code points); a byte that belongs to none counts as one.
std::size_t utf8_length(std::string_view text) noexcept;

}  // namespace troupe
