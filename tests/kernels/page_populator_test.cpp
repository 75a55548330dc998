// Pages arrive without being touched, and what stood in them stays.
#include "kernels/base/page_populator.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace troupe;

namespace {

/// Anonymous memory that nobody has touched.
class fresh_pages {
 public:
  explicit fresh_pages(std::size_t size_bytes)
      : size_bytes_(size_bytes),
        data_(::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                     0)) {
    REQUIRE(data_ != MAP_FAILED);
  }
  ~fresh_pages() { ::munmap(data_, size_bytes_); }
  fresh_pages(const fresh_pages&) = delete;
  fresh_pages& operator=(const fresh_pages&) = delete;

  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }

  [[nodiscard]] bool all_resident(std::size_t offset, std::size_t bytes) const {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    std::vector<unsigned char> flags(bytes / page);
    if (::mincore(data() + offset, bytes, flags.data()) != 0) return false;
    for (const unsigned char flag : flags) {
      if ((flag & 1U) == 0) return false;
    }
    return true;
  }

  [[nodiscard]] bool becomes_resident(std::size_t offset, std::size_t bytes) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!all_resident(offset, bytes)) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }

 private:
  std::size_t size_bytes_;
  void* data_;
};

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t mib = std::size_t{1} << 20;
constexpr std::chrono::milliseconds at_once{0};

}  // namespace

TEST_CASE("a populator brings the pages of its ranges and changes no byte") {
  const fresh_pages pages(32 * mib);
  std::memcpy(pages.data() + 5 * mib, "kept", 4);
  CHECK_FALSE(pages.all_resident(16 * mib, 8 * mib));
  const page_populator populator(
      {{pages.data() + 16 * mib - 10, 8 * mib + 10}, {nullptr, 0}, {pages.data(), 7 * mib + 100}},
      at_once);
  CHECK(pages.becomes_resident(16 * mib - page_bytes, 8 * mib + page_bytes));
  CHECK(pages.becomes_resident(0, 7 * mib));
  CHECK(std::memcmp(pages.data() + 5 * mib, "kept", 4) == 0);
  CHECK(pages.data()[20 * mib] == std::byte{0});
}

TEST_CASE("what others write while pages arrive is not lost") {
  const fresh_pages pages(32 * mib);
  const page_populator populator({{pages.data(), 32 * mib}}, at_once);
  std::size_t lost = 0;
  for (int turn = 1; turn < 50; ++turn) {
    volatile std::byte* const at = pages.data();
    for (std::size_t i = 0; i < 32 * mib; i += page_bytes) at[i] = static_cast<std::byte>(turn);
    for (std::size_t i = 0; i < 32 * mib; i += page_bytes)
      lost += at[i] != static_cast<std::byte>(turn);
  }
  CHECK(lost == 0);
}

TEST_CASE("a paused populator goes on when it is resumed, and ends while it is paused") {
  const fresh_pages pages(64 * mib);
  page_populator populator({{pages.data(), 64 * mib}}, std::chrono::milliseconds(1));
  populator.pause();
  populator.resume();
  CHECK(pages.becomes_resident(0, 64 * mib));
  const fresh_pages others(64 * mib);
  page_populator paused({{others.data(), 64 * mib}}, std::chrono::hours(1));
  paused.pause();
}

TEST_CASE("a populator that is not wanted any more stops") {
  const fresh_pages pages(256 * mib);
  for (int i = 0; i < 20; ++i) page_populator({{pages.data(), 256 * mib}}, at_once);
  CHECK(pages.data()[0] == std::byte{0});
}
