#include "kernels/base/page_arena.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "kernels/base/aligned_buffer.hpp"
#include "kernels/base/check.hpp"
#include "kernels/base/large_page.hpp"

namespace troupe {

namespace {

/// A small model wastes at most this much address space; pages that nobody touches cost nothing.
constexpr std::size_t chunk_bytes_min = std::size_t{32} << 20;

std::size_t round_up(std::size_t bytes, std::size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

}  // namespace

page_arena::~page_arena() {
  for (const chunk& each : chunks_) ::munmap(each.data, each.size_bytes);
}

void page_arena::add_chunk(std::size_t bytes_min) {
  // One page more than needed, so that the part in use can begin with a large page.
  const std::size_t usable = round_up(std::max(bytes_min, chunk_bytes_min), large_page_bytes);
  const std::size_t mapped = usable + large_page_bytes;
  void* data = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TROUPE_CHECK_MESSAGE(data != MAP_FAILED, "the system refused memory for weights");
  chunks_.push_back({data, mapped});
  ::madvise(data, mapped, MADV_HUGEPAGE);  // a refusal costs speed only
  next_ = reinterpret_cast<std::uint8_t*>(
      round_up(reinterpret_cast<std::uintptr_t>(data), large_page_bytes));
  left_bytes_ = usable;
}

std::uint8_t* page_arena::allocate(std::size_t bytes) {
  const std::size_t rounded = round_up(bytes, buffer_alignment_bytes);
  const std::lock_guard lock(mutex_);
  if (rounded > left_bytes_) add_chunk(rounded);
  std::uint8_t* const given = next_;
  next_ += rounded;
  left_bytes_ -= rounded;
  return given;
}

}  // namespace troupe
