// Classes live in a two-stage table, built once from the ranges: 256 code points a page, and equal
// pages stored once (about 200 of 4352).
#include "runtime/text/unicode.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <vector>

#include "runtime/text/unicode_data.hpp"

namespace troupe {
namespace {

constexpr char32_t code_count = 0x110000;
constexpr std::size_t page_codes = 256;
using page = std::array<char_class, page_codes>;

// PropList.txt, White_Space.
constexpr unicode_data::code_range whitespace_ranges[] = {
    {0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
    {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
};

struct class_table {
  std::array<std::uint16_t, code_count / page_codes> page_of{};
  std::vector<page> pages;
};

class_table build_table() {
  std::vector<char_class> flat(code_count, char_class::other);
  const auto mark = [&](std::span<const unicode_data::code_range> ranges, char_class kind) {
    for (const auto& [first, last] : ranges) {
      std::fill(flat.begin() + first, flat.begin() + last + 1, kind);
    }
  };
  mark(unicode_data::letter_ranges(), char_class::letter);
  mark(unicode_data::number_ranges(), char_class::number);
  mark(whitespace_ranges, char_class::whitespace);

  class_table table;
  std::map<page, std::uint16_t> known;
  for (std::size_t i = 0; i < table.page_of.size(); ++i) {
    page codes;
    std::copy_n(flat.begin() + static_cast<std::ptrdiff_t>(i * page_codes), page_codes,
                codes.begin());
    const auto [entry, is_new] =
        known.emplace(codes, static_cast<std::uint16_t>(table.pages.size()));
    if (is_new) table.pages.push_back(codes);
    table.page_of[i] = entry->second;
  }
  return table;
}

}  // namespace

char_class classify(char32_t code) noexcept {
  static const class_table table = build_table();
  return table.pages[table.page_of[code / page_codes]][code % page_codes];
}

}  // namespace troupe
