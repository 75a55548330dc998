// Python's string escapes, as Jinja applies them ("unicode-escape").
#include "runtime/text/jinja/tag_lexer.hpp"
#include "runtime/text/jinja/unicode.hpp"
#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char32_t read_hex(std::string_view literal, std::size_t& position, int count) {
  char32_t c = 0;
  for (int i = 0; i < count; ++i, ++position) {
    const int digit = position < literal.size() ? hex_value(literal[position]) : -1;
    if (digit < 0) throw failure{"a string has a truncated \\x, \\u or \\U escape"};
    c = c * 16 + static_cast<char32_t>(digit);
  }
  if (c > 0x10FFFF) throw failure{"a string has an escape beyond Unicode"};
  if (c >= 0xD800 && c <= 0xDFFF)
    throw failure{"a string has a surrogate escape, which has no UTF-8 form"};
  return c;
}

// Jinja spells non-ASCII characters as escapes before it unescapes, so a backslash before one
// yields the backslash and the letters of that spelling.
void append_spelled(std::string& out, char32_t c) {
  constexpr std::string_view hex = "0123456789abcdef";
  const int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
  out += digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += hex[(c >> shift) & 0xFu];
}

void append_escape(std::string& out, std::string_view literal, std::size_t& position) {
  const char kind = literal[position];
  if (static_cast<unsigned char>(kind) >= 0x80) {
    append_spelled(out, next_code_point(literal, position));
    return;
  }
  ++position;
  switch (kind) {
    case '\n': return;
    case '\\':
    case '\'':
    case '"': out += kind; return;
    case 'a': out += '\a'; return;
    case 'b': out += '\b'; return;
    case 'f': out += '\f'; return;
    case 'n': out += '\n'; return;
    case 'r': out += '\r'; return;
    case 't': out += '\t'; return;
    case 'v': out += '\v'; return;
    case 'x': append_utf8(out, read_hex(literal, position, 2)); return;
    case 'u': append_utf8(out, read_hex(literal, position, 4)); return;
    case 'U': append_utf8(out, read_hex(literal, position, 8)); return;
    case 'N': throw failure{"\\N{...} escapes are not supported"};
    default: break;
  }
  if (kind < '0' || kind > '7') {
    out += '\\';
    out += kind;
    return;
  }
  char32_t c = static_cast<char32_t>(kind - '0');
  for (int i = 0;
       i < 2 && position < literal.size() && literal[position] >= '0' && literal[position] <= '7';
       ++i, ++position)
    c = c * 8 + static_cast<char32_t>(literal[position] - '0');
  append_utf8(out, c);
}

}  // namespace

std::string unescape(std::string_view literal) {
  std::string out;
  out.reserve(literal.size());
  for (std::size_t i = 0; i < literal.size();) {
    if (literal[i] != '\\') {
      out += literal[i++];
      continue;
    }
    ++i;
    append_escape(out, literal, i);
  }
  return out;
}

}  // namespace troupe::jinja
