// Steps cut by rows: nothing is lost, order and wishes stay, cuts lie where they may, and no part
// is much more than its share. Random steps with printed seeds.
#include "runtime/model/row_parts.hpp"

#include <algorithm>
#include <random>
#include <stdexcept>

#include <catch2/catch.hpp>

#include "kernels/attention/attention.hpp"

using namespace troupe;
using wanted = forward_slice::logits;

namespace {

constexpr position_costs costs{.computed = 0.002, .read = 0.01};

struct random_step {
  std::vector<token_id> tokens;
  std::vector<block_index> table;
  std::vector<forward_slice> slices;

  explicit random_step(unsigned seed) : tokens(4096), table(4096) {
    std::mt19937 random(seed);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = static_cast<token_id>(i);
      table[i] = static_cast<block_index>(i);
    }
    std::size_t next = 0;
    const std::size_t count = 1 + random() % 20;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t rows = random() % 3 == 0 ? 1 + random() % 150 : 1;
      slices.push_back({std::span(tokens).subspan(next, rows), random() % 900,
                        std::span(table).subspan(i), static_cast<wanted>(random() % 3)});
      next += rows;
    }
  }
};

struct listed_row {
  token_id token;
  std::size_t position;
  const block_index* table;
  bool is_wanted;

  bool operator==(const listed_row&) const = default;
};

void list_rows(const std::vector<forward_slice>& slices, std::vector<listed_row>& to) {
  for (const forward_slice& slice : slices) {
    for (std::size_t i = 0; i < slice.tokens.size(); ++i) {
      const bool is_last = i + 1 == slice.tokens.size();
      to.push_back({slice.tokens[i], slice.position_first + i, slice.block_table.data(),
                    slice.want == wanted::all || (slice.want == wanted::last && is_last)});
    }
  }
}

const forward_slice& slice_of(const random_step& step, const forward_slice& piece) {
  for (const forward_slice& slice : step.slices) {
    if (slice.block_table.data() == piece.block_table.data()) return slice;
  }
  throw std::logic_error("a piece of no slice");
}

double position_cost_in(const forward_slice& whole) {
  return std::max(costs.computed, costs.read / static_cast<double>(whole.tokens.size()));
}

double cost_of_rows(const random_step& step, const std::vector<forward_slice>& slices) {
  double cost = 0.0;
  for (const forward_slice& piece : slices) {
    const double position_cost = position_cost_in(slice_of(step, piece));
    for (std::size_t i = 0; i < piece.tokens.size(); ++i)
      cost += 1.0 + position_cost * static_cast<double>(piece.position_first + i);
  }
  return cost;
}

void check_cuts(const random_step& step, const std::vector<row_part>& parts) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (std::size_t s = 0; s < parts[i].slices.size(); ++s) {
      const forward_slice& piece = parts[i].slices[s];
      REQUIRE_FALSE(piece.tokens.empty());
      const forward_slice& whole = slice_of(step, piece);
      const bool begins = piece.position_first == whole.position_first;
      CHECK((begins || (s == 0 && piece.position_first % kernels::kv_tile_tokens == 0)));
      if (s != 0) continue;
      // The parts that hold rows of the same slice before these.
      std::size_t from = i;
      while (!begins && from > 0 && !parts[from - 1].slices.empty() &&
             parts[from - 1].slices.back().block_table.data() == piece.block_table.data()) {
        --from;
      }
      CHECK(parts[i].needs_from == from);
      CHECK((begins || from < i));
    }
    if (parts[i].slices.empty()) CHECK(parts[i].needs_from == i);
  }
}

}  // namespace

TEST_CASE("a step that is cut by rows keeps its rows, and its parts cost alike", "[forward]") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    const random_step step(seed);
    const std::size_t part_count = 1 + seed % 5;
    CAPTURE(seed, part_count);
    const auto parts = cut_rows(step.slices, part_count, costs);
    REQUIRE(parts.size() == part_count);
    std::vector<listed_row> expected, actual;
    list_rows(step.slices, expected);
    for (const row_part& part : parts) list_rows(part.slices, actual);
    CHECK(actual == expected);
    check_cuts(step, parts);
    // A cut misses its place by half of what cannot be cut, on both sides of a part.
    const double share = cost_of_rows(step, step.slices) / static_cast<double>(part_count);
    const double uncut = kernels::kv_tile_tokens * (1.0 + costs.computed * 1100.0);
    for (const row_part& part : parts) CHECK(cost_of_rows(step, part.slices) <= share + uncut);
  }
}

TEST_CASE("what is read of the cache counts once for a slice, what is computed for each row",
          "[forward]") {
  const std::vector<token_id> tokens(700);
  const std::vector<block_index> table(100);
  // Rows in the first of two parts: `count` slices of so many rows at position 1000, then a prompt.
  const auto first_rows = [&](std::size_t count, std::size_t rows) {
    std::vector<forward_slice> slices(count, {std::span(tokens).first(rows), 1000, table});
    slices.push_back({std::span(tokens).first(512), 0, table});
    const auto parts = cut_rows(slices, 2, {.computed = 0.001, .read = 0.015});
    std::size_t first = 0;
    for (const forward_slice& piece : parts[0].slices) first += piece.tokens.size();
    return first;
  };
  // 16 rows cost 16 each; 512 of the prompt cost 643, the first 176 of them 191.
  CHECK(first_rows(16, 1) == 16 + 176);
  // Eight times 20 and, with a row more, 21: 241 or 237 remain, of which 208 rows cost 230.
  CHECK(first_rows(8, 5) == 40 + 224);
  CHECK(first_rows(8, 6) == 48 + 208);
  // From 15 rows on computing takes longer: four times 40.
  CHECK(first_rows(4, 20) == 80 + 224);
}

TEST_CASE("few rows are not cut, and more threads want more rows each", "[forward]") {
  CHECK(row_part_count(1000, 1, 1) == 1);
  CHECK(row_part_count(0, 2, 1) == 1);
  CHECK(row_part_count(5, 2, 1) == 1);
  CHECK(row_part_count(6, 2, 1) == 2);
  CHECK(row_part_count(512, 2, 1) == 2);
  CHECK(row_part_count(127, 2, 64) == 1);
  CHECK(row_part_count(128, 2, 64) == 2);
  CHECK(row_part_count(47, 16, 1) == 1);
  CHECK(row_part_count(48, 16, 1) == 2);
  CHECK(row_part_count(512, 16, 1) == 16);
}
