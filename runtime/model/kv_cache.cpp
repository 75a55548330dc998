#include "runtime/model/kv_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "kernels/base/check.hpp"
#include "kernels/base/large_page.hpp"

namespace troupe {

namespace {

/// Clearing pages slows whatever runs beside it down (in a virtual machine the host may have to
/// find the memory first): neither the first request after the start nor a pause between two
/// requests should meet it.
constexpr std::chrono::milliseconds populate_quiet_min{500};

}  // namespace

result<kv_cache> kv_cache::create(const kernels::kv_layout& layout, std::size_t layer_count,
                                  std::size_t block_count) {
  TROUPE_CHECK(layer_count > 0 && layout.block_bytes() > 0);
  std::size_t bytes = 0;
  if (block_count == 0 || __builtin_mul_overflow(layout.block_bytes(), block_count, &bytes) ||
      __builtin_mul_overflow(bytes, layer_count, &bytes)) {
    return error{errc::invalid_argument,
                 fmt::format("a KV cache of {} blocks x {} layers x {} bytes is not possible",
                             block_count, layer_count, layout.block_bytes())};
  }
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return error{
        errc::out_of_memory,
        fmt::format(
            "the KV cache needs {} MiB ({} blocks of {} tokens x {} layers), which the system "
            "refused: {}; configure fewer blocks or a 16-bit KV dtype",
            (bytes + 1048575) / 1048576, block_count, layout.block_tokens, layer_count,
            std::strerror(errno))};
  }
  ::madvise(data, bytes, MADV_HUGEPAGE);  // a refusal costs speed only
  return kv_cache(layout, layer_count, block_count, static_cast<std::byte*>(data));
}

kv_cache::kv_cache(const kernels::kv_layout& layout, std::size_t layer_count,
                   std::size_t block_count, std::byte* data) noexcept
    : layout_(layout), layer_count_(layer_count), block_count_(block_count), data_(data) {}

kv_cache::kv_cache(kv_cache&& other) noexcept
    : layout_(other.layout_),
      layer_count_(other.layer_count_),
      block_count_(other.block_count_),
      data_(std::exchange(other.data_, nullptr)),
      populator_(std::move(other.populator_)) {}

kv_cache& kv_cache::operator=(kv_cache&& other) noexcept {
  std::swap(layout_, other.layout_);
  std::swap(layer_count_, other.layer_count_);
  std::swap(block_count_, other.block_count_);
  std::swap(data_, other.data_);
  std::swap(populator_, other.populator_);
  return *this;
}

kv_cache::~kv_cache() {
  populator_.reset();
  if (data_ != nullptr) ::munmap(data_, size_bytes());
}

kernels::kv_layer kv_cache::layer(std::size_t index) const noexcept {
  TROUPE_CHECK(index < layer_count_);
  return {.data = data_ + index * layer_bytes(), .block_count = block_count_};
}

void kv_cache::populate_in_background() {
  const std::size_t stride =
      std::max<std::size_t>(large_page_bytes / layout_.block_bytes(), 1);  // blocks
  std::vector<page_populator::range> ranges;
  for (std::size_t block = 0; block < block_count_; block += stride) {
    const std::size_t bytes = std::min(stride, block_count_ - block) * layout_.block_bytes();
    for (std::size_t index = 0; index < layer_count_; ++index) {
      ranges.push_back({data_ + index * layer_bytes() + block * layout_.block_bytes(), bytes});
    }
  }
  populator_ = std::make_unique<page_populator>(std::move(ranges), populate_quiet_min);
}

void kv_cache::pause_population() {
  if (populator_ != nullptr) populator_->pause();
}

void kv_cache::resume_population() {
  if (populator_ != nullptr) populator_->resume();
}

void kv_cache::copy_block(block_index from, block_index to) {
  TROUPE_CHECK(to_index(from) < block_count_ && to_index(to) < block_count_ && from != to);
  const std::size_t bytes = layout_.block_bytes();
  for (std::size_t index = 0; index < layer_count_; ++index) {
    std::byte* layer = data_ + index * layer_bytes();
    std::memcpy(layer + to_index(to) * bytes, layer + to_index(from) * bytes, bytes);
  }
}

std::vector<std::byte> kv_cache::export_block(block_index block) const {
  TROUPE_CHECK(to_index(block) < block_count_);
  const std::size_t block_bytes = layout_.block_bytes();
  std::vector<std::byte> bytes;
  bytes.reserve(exported_bytes());
  for (std::size_t index = 0; index < layer_count_; ++index) {
    const std::byte* source = data_ + index * layer_bytes() + to_index(block) * block_bytes;
    bytes.insert(bytes.end(), source, source + block_bytes);
  }
  return bytes;
}

result<void> kv_cache::import_block(block_index block, std::span<const std::byte> bytes) {
  TROUPE_CHECK(to_index(block) < block_count_);
  if (bytes.size() != exported_bytes()) {
    return error{errc::invalid_argument,
                 fmt::format("a KV block of {} bytes for a cache whose blocks have {} ({} layers)",
                             bytes.size(), exported_bytes(), layer_count_)};
  }
  const std::size_t block_bytes = layout_.block_bytes();
  for (std::size_t index = 0; index < layer_count_; ++index) {
    std::memcpy(data_ + index * layer_bytes() + to_index(block) * block_bytes,
                bytes.data() + index * block_bytes, block_bytes);
  }
  return {};
}

}  // namespace troupe
