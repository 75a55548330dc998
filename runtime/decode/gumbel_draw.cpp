// Exact, yet most tokens cost a comparison: what cannot beat the best key so far is skipped by
// bounds.
#include "runtime/decode/gumbel_draw.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

namespace troupe {
namespace {

constexpr double ln2 = 0.69314718055994530942;

// uniform_of(word) is at most 1 - 2^-33, and -log(-log(1 - v)) <= -log(v).
constexpr double gumbel_max = 33.0 * ln2;

// Against rounding in the bounds; keys themselves are exact to about 1e-14.
constexpr double bound_slack = 1e-6;

double gumbel_of(std::uint32_t word) {
  return -std::log(-std::log(uniform_of(word)));
}

// With z leading zeros in ~word, 1 - u is at least 2^-(z + 1); -log(u) >= 1 - u gives the bound.
double gumbel_bound(std::uint32_t word) {
  return ln2 * static_cast<double>(std::countl_zero(~word) + 1);
}

class race {
 public:
  race(std::span<const float> logits, const candidate& top, const token_cut& cut, float temperature,
       const token_noise& noise)
      : logits_(logits),
        cut_(cut),
        maximum_(static_cast<double>(top.logit)),
        scale_(1.0 / static_cast<double>(temperature)),
        noise_(noise),
        best_id_(top.id) {
    best_key_ = gumbel_of(noise_.block(top.id / 4)[top.id % 4]);
    update_floor();
  }

  [[nodiscard]] std::uint32_t winner() const { return best_id_; }

  /// A block of the vocabulary scan, whose largest logit is `highest`. The noise of all its tokens
  /// is made at once; mostly its largest word shows that none of them can win.
  void run_block(std::size_t first, float highest) {
    if (!(highest >= floor_) || highest == no_logit) return;
    noise_.sixteen_blocks(set_, static_cast<std::uint32_t>(first / 4), words_);
    const double scaled = (static_cast<double>(highest) - maximum_) * scale_;
    if (scaled + gumbel_bound(words_.largest) + bound_slack < best_key_) return;
    const std::size_t count = std::min(scan_block_tokens, logits_.size() - first);
    for (std::size_t j = 0; j < count; ++j) run_one(first + j, words_.words[j % 4][j / 4]);
  }

 private:
  void run_one(std::size_t i, std::uint32_t word) {
    const auto id = static_cast<std::uint32_t>(i);
    if (!cut_.keeps(logits_[i], id)) return;
    const double scaled = (static_cast<double>(logits_[i]) - maximum_) * scale_;
    if (scaled + gumbel_bound(word) + bound_slack < best_key_) return;
    const double key = scaled + gumbel_of(word);
    if (key > best_key_ || (key == best_key_ && id < best_id_)) {
      best_key_ = key;
      best_id_ = id;
      update_floor();
    }
  }

  void update_floor() {
    const double hopeless = maximum_ + (best_key_ - gumbel_max - bound_slack) / scale_;
    // Rounding to float may go up by an ulp: go one down.
    floor_ = std::max(cut_.logit, std::nextafter(static_cast<float>(hopeless), no_logit));
  }

  std::span<const float> logits_;
  token_cut cut_;
  double maximum_;
  double scale_;
  const token_noise& noise_;
  double best_key_ = 0.0;
  float floor_ = no_logit;  // below it no logit can win, whatever its noise
  std::uint32_t best_id_;
  isa set_ = best_isa();  // all give the same words
  kernels::philox_sixteen words_;
};

static_assert(scan_block_tokens == 64, "sixteen counters of four words");

}  // namespace

std::uint32_t gumbel_draw(std::span<const float> logits, std::span<const float> block_maxima,
                          const candidate& top, const token_cut& cut, float temperature,
                          const token_noise& noise) {
  race keys(logits, top, cut, temperature, noise);
  for (std::size_t b = 0; b < block_maxima.size(); ++b) {
    keys.run_block(b * scan_block_tokens, block_maxima[b]);
  }
  return keys.winner();
}

}  // namespace troupe
