// Stop strings in a stream of text: what can be sent now, and whether one was reached. Text that
// may be the beginning of a stop string is held back until it is known not to be. Method: Aho and
// Corasick, 1975; O(1) amortized per byte for any number of stop strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/base/result.hpp"

namespace troupe {

class stop_strings {
 public:
  struct step {
    std::string text;                 ///< safe to send
    std::optional<std::size_t> stop;  ///< index of the stop string that was reached
  };

  /// include_stop: the stop string is sent too. invalid_argument: an empty stop string, or more or
  /// longer ones than config/limits.hpp allows.
  static result<stop_strings> create(const std::vector<std::string>& stops, bool include_stop);

  /// The stop string that ends first counts, and of several that end there the longest: the outcome
  /// does not depend on how the text is cut into pieces. Everything after it is dropped, later
  /// calls included.
  step push(std::string_view text);
  /// Text in which no stop string counts. One that begins in it may still end in later text.
  std::string pass(std::string_view text);
  /// No more text: what was held back.
  std::string finish();

  [[nodiscard]] bool is_stopped() const noexcept { return stopped_; }
  [[nodiscard]] std::size_t held_bytes() const noexcept { return held_.size(); }

 private:
  struct node {
    std::vector<std::pair<unsigned char, std::uint32_t>> next;  // ascending by byte
    std::uint32_t fallback = 0;       // the longest proper suffix that is a node
    std::uint32_t depth_bytes = 0;    // how much of a stop string this is
    std::optional<std::size_t> stop;  // the longest stop string that ends here
  };

  explicit stop_strings(bool include_stop) : include_stop_(include_stop) {}
  void insert(std::string_view stop, std::size_t index);
  void link_fallbacks();
  std::string release();
  [[nodiscard]] std::uint32_t child(std::uint32_t from, unsigned char byte) const noexcept;
  [[nodiscard]] std::uint32_t advance(std::uint32_t from, unsigned char byte) const noexcept;

  std::vector<node> nodes_ = std::vector<node>(1);
  std::vector<std::size_t> lengths_;  // of the stop strings
  bool include_stop_;
  bool stopped_ = false;
  std::uint32_t at_ = 0;  // the node that held_ spells
  std::string held_;
};

}  // namespace troupe
