// The parts of the Unicode Character Database that tokenizers need, as plain tables in ascending
// order of code points. Only unicode.cpp and normalization.cpp read them.
#pragma once

#include <cstdint>
#include <span>

namespace troupe::unicode_data {

struct code_range {
  char32_t first, last;  ///< both included
};

struct combining_range {
  char32_t first, last;
  std::uint8_t combining_class;  ///< never 0
};

struct single_decomposition {
  char32_t code, into;
};

struct pair_decomposition {
  char32_t code, first, second;
  bool composes;  ///< false for composition exclusions
};

std::span<const code_range> letter_ranges();
std::span<const code_range> number_ranges();
std::span<const combining_range> combining_ranges();
std::span<const single_decomposition> single_decompositions();
std::span<const pair_decomposition> pair_decompositions();

}  // namespace troupe::unicode_data
