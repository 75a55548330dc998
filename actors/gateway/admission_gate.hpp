// How much a gateway may take in: credits per lane, which the scheduler side hands back when a
// request leaves the waiting line, and a bound on payload bytes that are being prepared, of which
// lower lanes may fill a part only: async is shed first. Ports ask it on their own I/O threads, so
// that a flood is answered `overloaded` before it reaches any mailbox.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "kernels/base/result.hpp"
#include "runtime/schedule/lane.hpp"

namespace troupe {

class admission_gate {
 public:
  admission_gate(const std::array<std::uint32_t, lane_count>& credits, std::uint64_t bytes_max);

  /// Takes one credit of the lane and the bytes. Errors: overloaded, unavailable (closed).
  result<void> enter(lane service, std::uint64_t bytes);
  /// Exchanges a credit for one of another lane. Errors: overloaded.
  result<void> move(lane from, lane to);
  void return_credits(lane service, std::uint32_t count);
  void return_bytes(std::uint64_t bytes);
  /// A new gate is closed: everything is refused as unavailable, until all ports stand ready.
  void open() { closed_.store(false, std::memory_order_release); }
  void close() { closed_.store(true, std::memory_order_release); }
  [[nodiscard]] std::uint32_t credits(lane service) const;

 private:
  result<void> take_credit(lane service);

  std::array<std::atomic<std::uint32_t>, lane_count> credits_;
  std::array<std::uint32_t, lane_count> credits_max_;
  std::atomic<std::uint64_t> bytes_{0};
  std::uint64_t bytes_max_;
  std::atomic<bool> closed_{true};
};

}  // namespace troupe
