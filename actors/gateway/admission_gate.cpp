#include "actors/gateway/admission_gate.hpp"

#include <fmt/format.h>

namespace troupe {
namespace {

/// Of the bytes in preparation, how many may be there for a request of the lane to come in.
constexpr std::array<double, lane_count> bytes_share{1.0, 0.75, 0.5};

}  // namespace

admission_gate::admission_gate(const std::array<std::uint32_t, lane_count>& credits,
                               std::uint64_t bytes_max)
    : credits_max_(credits), bytes_max_(bytes_max) {
  for (std::size_t i = 0; i < lane_count; ++i) credits_[i].store(credits[i]);
}

result<void> admission_gate::take_credit(lane service) {
  std::atomic<std::uint32_t>& left = credits_[to_index(service)];
  std::uint32_t seen = left.load(std::memory_order_relaxed);
  do {
    if (seen == 0)
      return error{errc::overloaded,
                   fmt::format("the {} lane's queue is full ({} requests wait); retry later",
                               to_string(service), credits_max_[to_index(service)])};
  } while (!left.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel));
  return {};
}

result<void> admission_gate::move(lane from, lane to) {
  TROUPE_TRY_VOID(take_credit(to));
  return_credits(from, 1);
  return {};
}

result<void> admission_gate::enter(lane service, std::uint64_t bytes) {
  if (closed_.load(std::memory_order_acquire))
    return error{errc::unavailable,
                 "the server takes no requests now: it is starting or shutting down"};
  TROUPE_TRY_VOID(take_credit(service));
  const double filled =
      static_cast<double>(bytes_.fetch_add(bytes, std::memory_order_acq_rel) + bytes);
  if (filled > bytes_share[to_index(service)] * static_cast<double>(bytes_max_)) {
    return_bytes(bytes);
    return_credits(service, 1);
    return error{errc::overloaded, "too many request bytes are being prepared; retry later"};
  }
  return {};
}

void admission_gate::return_credits(lane service, std::uint32_t count) {
  const std::uint32_t before =
      credits_[to_index(service)].fetch_add(count, std::memory_order_acq_rel);
  TROUPE_CHECK(before + count <= credits_max_[to_index(service)]);
}

void admission_gate::return_bytes(std::uint64_t bytes) {
  const std::uint64_t before = bytes_.fetch_sub(bytes, std::memory_order_acq_rel);
  TROUPE_CHECK(before >= bytes);
}

std::uint32_t admission_gate::credits(lane service) const {
  return credits_[to_index(service)].load(std::memory_order_acquire);
}

}  // namespace troupe
