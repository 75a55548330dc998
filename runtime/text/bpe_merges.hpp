// The merges of a byte-pair encoding: which adjacent pairs of tokens join into which token, and in
// what order. Both kinds of tokenizer (byte-level and SentencePiece) encode with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/index_types.hpp"

namespace troupe {

class bpe_merges {
 public:
  struct merge {
    std::uint32_t rank = 0;  ///< lower merges first; equal ranks merge from left to right
    token_id joined{};
  };

  bpe_merges() = default;
  explicit bpe_merges(std::size_t expected_count);

  /// The first rank of a pair stays; returns whether the pair is new.
  bool add(token_id left, token_id right, merge joined);
  /// nullptr where the two do not merge.
  [[nodiscard]] const merge* find(token_id left, token_id right) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return count_; }

  /// Merges until no pair is left, always the pair of lowest rank and then the leftmost. O(n log
  /// n). Fewer than 2^32 tokens.
  void apply(std::vector<token_id>& tokens) const;

 private:
  struct slot {
    std::uint64_t key = empty_key;
    merge value;
  };
  // Two token ids of 31 bits never give this key.
  static constexpr std::uint64_t empty_key = ~std::uint64_t{0};

  [[nodiscard]] std::size_t slot_of(std::uint64_t key) const noexcept;
  void grow(std::size_t slot_count);

  std::vector<slot> slots_;  // open addressing, a power of two, at most half full
  std::size_t count_ = 0;
};

}  // namespace troupe
