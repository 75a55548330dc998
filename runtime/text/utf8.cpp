// Well-formed sequences are those of the Unicode Standard, table 3-7.
#include "runtime/text/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace troupe {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

constexpr bool is_continuation(unsigned char byte) {
  return (byte & 0xC0) == 0x80;
}

// Bytes of the character that `lead` begins; 0 where no character begins so.
constexpr std::size_t sequence_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// The second byte is where overlong forms, surrogates and code points past U+10FFFF show.
constexpr bool is_second_byte(unsigned char lead, unsigned char byte) {
  switch (lead) {
    case 0xE0: return byte >= 0xA0 && byte <= 0xBF;
    case 0xED: return byte >= 0x80 && byte <= 0x9F;
    case 0xF0: return byte >= 0x90 && byte <= 0xBF;
    case 0xF4: return byte >= 0x80 && byte <= 0x8F;
    default: return is_continuation(byte);
  }
}

// Length of the run of ASCII at the start of `bytes`.
std::size_t ascii_length(std::string_view bytes) {
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    if ((word & 0x8080808080808080U) != 0) break;
  }
  while (i < bytes.size() && static_cast<unsigned char>(bytes[i]) < 0x80) ++i;
  return i;
}

}  // namespace

utf8_char utf8_decode(std::string_view text, std::size_t position) noexcept {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[position + i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

void utf8_append(std::string& text, char32_t code) {
  const auto put = [&](char32_t byte) {
    text += static_cast<char>(static_cast<unsigned char>(byte));
  };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

std::string utf8_stream::push(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + held_count_);
  while (!bytes.empty()) {
    if (held_count_ == 0) {
      const std::size_t plain = ascii_length(bytes);
      out.append(bytes.substr(0, plain));
      bytes.remove_prefix(plain);
      if (bytes.empty()) break;
    }
    push_byte(out, static_cast<unsigned char>(bytes.front()));
    bytes.remove_prefix(1);
  }
  return out;
}

void utf8_stream::push_byte(std::string& out, unsigned char byte) {
  if (held_count_ > 0) {
    const bool fits = held_count_ == 1 ? is_second_byte(static_cast<unsigned char>(held_[0]), byte)
                                       : is_continuation(byte);
    if (fits) {
      held_[held_count_++] = static_cast<char>(byte);
      if (held_count_ == expected_count_) {
        out.append(held_, held_count_);
        held_count_ = 0;
      }
      return;
    }
    out.append(replacement);
    held_count_ = 0;
  }
  expected_count_ = sequence_length(byte);
  if (expected_count_ == 0) {
    out.append(replacement);
  } else if (expected_count_ == 1) {
    out += static_cast<char>(byte);
  } else {
    held_[0] = static_cast<char>(byte);
    held_count_ = 1;
  }
}

std::string utf8_stream::finish() {
  const bool incomplete = held_count_ > 0;
  held_count_ = 0;
  return incomplete ? std::string(replacement) : std::string{};
}

bool utf8_is_valid(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    bytes.remove_prefix(ascii_length(bytes));
    if (bytes.empty()) break;
    const auto lead = static_cast<unsigned char>(bytes[0]);
    const std::size_t length = sequence_length(lead);
    if (length == 0 || length > bytes.size()) return false;
    for (std::size_t i = 1; i < length; ++i) {
      const auto byte = static_cast<unsigned char>(bytes[i]);
      if (i == 1 ? !is_second_byte(lead, byte) : !is_continuation(byte)) return false;
    }
    bytes.remove_prefix(length);
  }
  return true;
}

std::string utf8_repair(std::string_view bytes) {
  utf8_stream stream;
  std::string text = stream.push(bytes);
  text += stream.finish();
  return text;
}

}  // namespace troupe
