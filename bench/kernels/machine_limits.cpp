#include "bench/kernels/machine_limits.hpp"

#include <algorithm>
#include <utility>

#include "bench/kernels/limit_loops.hpp"
#include "bench/kernels/repeated_timing.hpp"

namespace troupe::bench {

namespace {

/// Work of a thread in a sample, 0.2 to 3 ms: long against waking a thread, short against
/// a time slice where the machine is fast.
constexpr double sample_operations = 2.5e8;
/// A thread reads its own cache for about as long.
constexpr std::size_t cache_read_bytes = 100u << 20;
/// So that a thread that loses its core delays a pass by one part.
constexpr std::size_t parts_per_thread = 8;
/// Prefetching to try: none, and far enough ahead to hide a memory's latency.
constexpr std::size_t prefetch_distances[] = {0, 4096};
constexpr std::size_t limit_samples_min = 5;
/// Of a quick look.
constexpr timing_budget glance{0.0, 1};
/// How many times what the L2 caches hold is surely read from an L3. Of one that serves a hundred
/// cores a virtual machine may have a small part, so half of it can be memory already.
constexpr std::size_t l2s_exceeded = 4;
/// Of each kind of pages; the largest caches are exceeded by half of it.
constexpr std::size_t read_buffer_bytes_max = 1u << 30;
/// Of which a sample reads the next one of so many parts: when it comes round again, the others
/// have pushed it out of the caches.
constexpr std::size_t memory_parts = 4;
/// Below it memory was not really measured on huge pages.
constexpr double huge_share_min = 0.9;

const limit_loops& loops_of(isa set) {
  switch (set) {
    case isa::bf16_reference:
    case isa::reference: break;
    case isa::avx2: return limit_loops_avx2;
    case isa::amx:
    case isa::avx512: return limit_loops_avx512;
  }
  return limit_loops_sse2;
}

const compute_loop& compute_loop_of(isa set, limit_kind kind) {
  static const compute_loop none;
  if (kind == limit_kind::bf16_dot && set == isa::amx) return bf16_tiles_amx;
  if (kind == limit_kind::int8_dot) return loops_of(set).int8_dot;
  if (kind == limit_kind::f32_fma) return loops_of(set).f32_fma;
  return set == isa::avx512 && detect_cpu_features().avx512_bf16 ? bf16_dot_avx512 : none;
}

/// For the compiler a use, so that it cannot leave out the loop that made the value.
void keep(std::uint64_t value) {
  __asm__ volatile("" : : "r"(value));
}

constexpr std::size_t cold_walk_bytes_max = 1u << 30;

}  // namespace

std::size_t cold_walk_bytes(const cache_sizes& sizes) {
  return std::min(cold_walk_bytes_max, 3 * sizes.largest_bytes());
}

std::string_view to_string(limit_kind kind) {
  switch (kind) {
    case limit_kind::int8_dot: return "int8_dot";
    case limit_kind::bf16_dot: return "bf16_dot";
    case limit_kind::f32_fma: return "f32_fma";
    case limit_kind::l1_read: return "l1_read";
    case limit_kind::l2_read: return "l2_read";
    case limit_kind::l3_read: return "l3_read";
    case limit_kind::memory_read: return "memory_read";
    case limit_kind::memory_read_huge_pages: return "memory_read_huge_pages";
  }
  return "";
}

bool is_read(limit_kind kind) {
  return kind >= limit_kind::l1_read;
}

double machine_limits::memory_rate() const {
  return std::max(rate(limit_kind::memory_read), rate(limit_kind::memory_read_huge_pages));
}

void machine_limits::raise_to(const machine_limits& other) {
  thread_count = other.thread_count;
  for (std::size_t i = 0; i < limit_kind_count; ++i) rates[i] = std::max(rates[i], other.rates[i]);
}

limit_meter::limit_meter(isa set, const cache_sizes& sizes, read_buffer small, read_buffer huge)
    : set_(set),
      sizes_(sizes),
      small_pages_(std::move(small)),
      huge_pages_(std::move(huge)),
      huge_share_(huge_pages_.huge_share()) {}

result<limit_meter> limit_meter::create(isa set, const cache_sizes& sizes,
                                        std::size_t thread_count_max) {
  const std::size_t bytes = std::max(std::min(2 * cold_walk_bytes(sizes), read_buffer_bytes_max),
                                     l2s_exceeded * thread_count_max * sizes.l2_bytes);
  TROUPE_TRY(auto small, read_buffer::create(bytes, page_kind::small));
  TROUPE_TRY(auto huge, read_buffer::create(bytes, page_kind::huge));
  return limit_meter(set, sizes, std::move(small), std::move(huge));
}

machine_limits limit_meter::measure(thread_pool& pool, double seconds_each) const {
  machine_limits limits;
  limits.thread_count = pool.thread_count();
  for (std::size_t i = 0; i < limit_kind_count; ++i) {
    limits.rates[i] = measure_one(static_cast<limit_kind>(i), pool, seconds_each);
  }
  return limits;
}

double limit_meter::measure_one(limit_kind kind, thread_pool& pool, double seconds) const {
  const timing_budget budget{seconds / 2, limit_samples_min};  // of each prefetch distance
  switch (kind) {
    case limit_kind::int8_dot:
    case limit_kind::bf16_dot:
    case limit_kind::f32_fma: return compute_rate(kind, pool, seconds);
    case limit_kind::l1_read: return private_read_rate(sizes_.l1_bytes / 2, pool, seconds);
    case limit_kind::l2_read: return private_read_rate(sizes_.l2_bytes / 2, pool, seconds);
    case limit_kind::l3_read: return l3_read_rate(pool, budget);
    case limit_kind::memory_read: return memory_read_rate(small_pages_, pool, budget);
    case limit_kind::memory_read_huge_pages:
      if (huge_share_ < huge_share_min) return 0.0;
      return memory_read_rate(huge_pages_, pool, budget);
  }
  return 0.0;
}

const read_buffer& limit_meter::better_pages() const {
  return huge_share_ >= huge_share_min ? huge_pages_ : small_pages_;
}

double limit_meter::memory_rate_now(thread_pool& pool) const {
  return memory_read_rate(better_pages(), pool, glance);
}

double limit_meter::l3_read_rate(thread_pool& pool, const timing_budget& budget) const {
  const read_buffer& buffer = better_pages();
  const std::size_t half = sizes_.l3_bytes / 2;
  const std::size_t little = l2s_exceeded * sizes_.l2_bytes * pool.thread_count();
  const double rate = shared_read_rate(buffer, half, 1, pool, budget);
  return little < half ? std::max(rate, shared_read_rate(buffer, little, 1, pool, budget)) : rate;
}

double limit_meter::memory_read_rate(const read_buffer& buffer, thread_pool& pool,
                                     const timing_budget& budget) const {
  return shared_read_rate(buffer, buffer.size_bytes() / memory_parts, memory_parts, pool, budget);
}

double limit_meter::compute_rate(limit_kind kind, thread_pool& pool, double seconds) const {
  const compute_loop& loop = compute_loop_of(set_, kind);
  if (loop.run == nullptr) return 0.0;
  const auto rounds = static_cast<std::size_t>(sample_operations / loop.operations_per_round) + 1;
  const auto timing = time_repeatedly({seconds, limit_samples_min}, [&] {
    pool.parallel_for(pool.thread_count(),
                      [&](std::size_t, std::size_t) { keep(loop.run(rounds)); });
  });
  return static_cast<double>(rounds * pool.thread_count()) * loop.operations_per_round /
         timing.best_seconds;
}

double limit_meter::private_read_rate(std::size_t bytes, thread_pool& pool, double seconds) const {
  const std::size_t size = bytes / read_step_bytes * read_step_bytes;
  const std::size_t passes = cache_read_bytes / size;
  // A thread's part is its own whichever task it claims.
  TROUPE_CHECK(size * pool.thread_count() <= huge_pages_.size_bytes());
  const auto timing = time_repeatedly({seconds, limit_samples_min}, [&] {
    pool.parallel_for(pool.thread_count(), [&](std::size_t, std::size_t thread) {
      const std::byte* first = huge_pages_.data() + thread * size;
      std::uint64_t sum = 0;
      for (std::size_t pass = 0; pass < passes; ++pass) sum += loops_of(set_).read(first, size, 0);
      keep(sum);
    });
  });
  return static_cast<double>(size * passes * pool.thread_count()) / timing.best_seconds;
}

double limit_meter::shared_read_rate(const read_buffer& buffer, std::size_t bytes,
                                     std::size_t turn_count, thread_pool& pool,
                                     const timing_budget& budget) const {
  std::size_t turn = 0;
  const std::size_t parts = parts_per_thread * pool.thread_count();
  const std::size_t part_bytes = bytes / parts / read_step_bytes * read_step_bytes;
  double best = 0.0;
  for (const std::size_t distance : prefetch_distances) {
    const auto timing = time_repeatedly(budget, [&] {
      const std::byte* const first =
          buffer.data() + turn * bytes / read_step_bytes * read_step_bytes;
      pool.parallel_for(parts, [&](std::size_t part, std::size_t) {
        keep(loops_of(set_).read(first + part * part_bytes, part_bytes, distance));
      });
      turn = (turn + 1) % turn_count;
    });
    best = std::max(best, static_cast<double>(part_bytes * parts) / timing.best_seconds);
  }
  return best;
}

}  // namespace troupe::bench
