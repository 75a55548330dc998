// Normalization form C: decompose, order the marks, compose (UAX #15; The Unicode Standard, section
// 3.11, and 3.12 for the arithmetic of Hangul syllables).
#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "runtime/text/unicode.hpp"
#include "runtime/text/unicode_data.hpp"
#include "runtime/text/utf8.hpp"

namespace troupe {
namespace {

// Below U+0300 nothing decomposes further than it composes again, and nothing is a mark.
constexpr char32_t first_affected = 0x300;

constexpr char32_t hangul_s = 0xAC00, hangul_l = 0x1100, hangul_v = 0x1161, hangul_t = 0x11A7;
constexpr char32_t hangul_l_count = 19, hangul_v_count = 21, hangul_t_count = 28;
constexpr char32_t hangul_s_count = hangul_l_count * hangul_v_count * hangul_t_count;

struct mark {
  char32_t code;
  std::uint8_t combining_class;
};

struct decomposition {
  char32_t first, second;  // second 0: into one
};

constexpr std::uint64_t pair_key(char32_t first, char32_t second) {
  return std::uint64_t{first} << 32 | second;
}

struct tables {
  std::unordered_map<char32_t, decomposition> decompositions;
  std::unordered_map<std::uint64_t, char32_t> compositions;
  std::unordered_map<char32_t, std::uint8_t> combining;

  tables() {
    for (const auto& row : unicode_data::single_decompositions()) {
      decompositions[row.code] = {row.into, 0};
    }
    for (const auto& row : unicode_data::pair_decompositions()) {
      decompositions[row.code] = {row.first, row.second};
      if (row.composes) compositions[pair_key(row.first, row.second)] = row.code;
    }
    for (const auto& row : unicode_data::combining_ranges()) {
      for (char32_t code = row.first; code <= row.last; ++code) {
        combining[code] = row.combining_class;
      }
    }
  }
};

const tables& unicode_tables() {
  static const tables built;
  return built;
}

void decompose(const tables& data, char32_t code, std::vector<mark>& out) {
  if (code >= hangul_s && code < hangul_s + hangul_s_count) {
    const char32_t index = code - hangul_s;
    out.push_back({hangul_l + index / (hangul_v_count * hangul_t_count), 0});
    out.push_back({hangul_v + index / hangul_t_count % hangul_v_count, 0});
    if (index % hangul_t_count != 0) out.push_back({hangul_t + index % hangul_t_count, 0});
    return;
  }
  const auto found = data.decompositions.find(code);
  if (found == data.decompositions.end()) {
    const auto entry = data.combining.find(code);
    out.push_back({code, entry == data.combining.end() ? std::uint8_t{0} : entry->second});
    return;
  }
  decompose(data, found->second.first, out);
  if (found->second.second != 0) decompose(data, found->second.second, out);
}

// Canonical ordering: every run of marks sorts by class, equal classes keep their order.
void order_marks(std::vector<mark>& text) {
  for (auto begin = text.begin(); begin != text.end();) {
    if (begin->combining_class == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, text.end(), [](mark m) { return m.combining_class == 0; });
    std::stable_sort(begin, end,
                     [](mark a, mark b) { return a.combining_class < b.combining_class; });
    begin = end;
  }
}

// The primary composite of two characters; 0 where they have none.
char32_t composite(const tables& data, char32_t first, char32_t second) {
  if (first >= hangul_l && first < hangul_l + hangul_l_count && second >= hangul_v &&
      second < hangul_v + hangul_v_count) {
    return hangul_s + ((first - hangul_l) * hangul_v_count + (second - hangul_v)) * hangul_t_count;
  }
  if (first >= hangul_s && first < hangul_s + hangul_s_count &&
      (first - hangul_s) % hangul_t_count == 0 && second > hangul_t &&
      second < hangul_t + hangul_t_count) {
    return first + (second - hangul_t);
  }
  const auto found = data.compositions.find(pair_key(first, second));
  return found == data.compositions.end() ? 0 : found->second;
}

void compose(const tables& data, std::vector<mark>& text) {
  constexpr std::size_t none = static_cast<std::size_t>(-1);
  std::size_t starter = none, kept = 0;
  for (const mark next : text) {
    // Blocked: between the starter and this mark stands one of the same or a higher class.
    const bool adjacent = starter != none && kept == starter + 1;
    const bool open =
        starter != none && (adjacent || (text[kept - 1].combining_class != 0 &&
                                         text[kept - 1].combining_class < next.combining_class));
    const char32_t joined = open ? composite(data, text[starter].code, next.code) : 0;
    if (joined != 0) {
      text[starter].code = joined;
      continue;
    }
    if (next.combining_class == 0) starter = kept;
    text[kept++] = next;
  }
  text.resize(kept);
}

bool is_unaffected(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const utf8_char c = utf8_decode(text, i);
    if (c.code >= first_affected) return false;
    i += c.length_bytes;
  }
  return true;
}

}  // namespace

std::string to_nfc(std::string_view text) {
  if (is_unaffected(text)) return std::string(text);
  const tables& data = unicode_tables();
  std::vector<mark> chars;
  chars.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const utf8_char c = utf8_decode(text, i);
    decompose(data, c.code, chars);
    i += c.length_bytes;
  }
  order_marks(chars);
  compose(data, chars);
  std::string normal;
  normal.reserve(text.size());
  for (const mark m : chars) utf8_append(normal, m.code);
  return normal;
}

}  // namespace troupe
