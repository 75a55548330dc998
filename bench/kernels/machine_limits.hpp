// What this machine can do at most with one variant's instructions, measured. The reference variant
// is held against plain x86-64.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "bench/kernels/read_buffer.hpp"
#include "bench/kernels/repeated_timing.hpp"
#include "kernels/base/cache_sizes.hpp"
#include "kernels/base/cpu_features.hpp"
#include "kernels/base/thread_pool.hpp"

namespace troupe::bench {

/// What a walk must exceed so that nothing of it is left in the last-level cache when it begins
/// again.
std::size_t cold_walk_bytes(const cache_sizes& sizes);

enum class limit_kind : std::size_t {
  int8_dot,                ///< operations/s; a multiplication and its addition are two
  bf16_dot,                ///< operations/s; 0 without VDPBF16PS
  f32_fma,                 ///< operations/s
  l1_read,                 ///< bytes/s, each thread its own half of an L1
  l2_read,                 ///< bytes/s, each thread its own half of an L2
  l3_read,                 ///< bytes/s, all threads one buffer: the better of two sizes
  memory_read,             ///< bytes/s, much more than the last-level cache, small pages
  memory_read_huge_pages,  ///< the same on 2 MiB pages; 0 where the system gives none
};
inline constexpr std::size_t limit_kind_count = 8;

std::string_view to_string(limit_kind kind);
/// True for bytes, false for operations.
bool is_read(limit_kind kind);

struct machine_limits {
  std::size_t thread_count = 0;
  std::array<double, limit_kind_count> rates{};  ///< per second; 0: not on this machine

  [[nodiscard]] double rate(limit_kind kind) const { return rates[static_cast<std::size_t>(kind)]; }
  /// Of memory on the better pages.
  [[nodiscard]] double memory_rate() const;
  /// Keeps the larger of each: a limit is what was reached at any time.
  void raise_to(const machine_limits& other);
};

/// Owns the buffers, so that measuring again costs no page faults.
class limit_meter {
 public:
  /// Error: out_of_memory.
  static result<limit_meter> create(isa set, const cache_sizes& sizes,
                                    std::size_t thread_count_max);
  /// Takes about seconds_each for each kind.
  machine_limits measure(thread_pool& pool, double seconds_each) const;
  /// What memory gives now, in bytes/s on the better pages: a quick look, 20 ms or so.
  double memory_rate_now(thread_pool& pool) const;
  [[nodiscard]] double huge_share() const { return huge_share_; }

 private:
  limit_meter(isa set, const cache_sizes& sizes, read_buffer small, read_buffer huge);
  [[nodiscard]] double measure_one(limit_kind kind, thread_pool& pool, double seconds) const;
  [[nodiscard]] double l3_read_rate(thread_pool& pool, const timing_budget& budget) const;
  [[nodiscard]] double compute_rate(limit_kind kind, thread_pool& pool, double seconds) const;
  [[nodiscard]] double private_read_rate(std::size_t bytes, thread_pool& pool,
                                         double seconds) const;
  [[nodiscard]] const read_buffer& better_pages() const;
  [[nodiscard]] double memory_read_rate(const read_buffer& buffer, thread_pool& pool,
                                        const timing_budget& budget) const;
  /// Each sample reads the next `bytes` of the buffer, in turns of so many.
  [[nodiscard]] double shared_read_rate(const read_buffer& buffer, std::size_t bytes,
                                        std::size_t turn_count, thread_pool& pool,
                                        const timing_budget& budget) const;

  isa set_;
  cache_sizes sizes_;
  read_buffer small_pages_;
  read_buffer huge_pages_;
  double huge_share_;
};

}  // namespace troupe::bench
