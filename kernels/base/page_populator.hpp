// Has the system hand out a region's pages before they are needed, on a thread that runs only while
// nothing else wants its core: a page that compute threads touch first costs them its clearing.
#pragma once

#include <cstddef>
#include <stop_token>
#include <thread>
#include <vector>

namespace troupe {

class page_populator {
 public:
  struct range {
    std::byte* data = nullptr;
    std::size_t size_bytes = 0;
  };

  /// Takes the ranges, which outlive it, in their order. Contents stay as they are. A system that
  /// cannot do it (Linux before 5.14) or has no memory left leaves the pages to their first use.
  explicit page_populator(std::vector<range> ranges);
  /// Waits for the piece in hand.
  ~page_populator() = default;

 private:
  static void populate(const std::stop_token& stop, const std::vector<range>& ranges);

  std::jthread thread_;
};

}  // namespace troupe
