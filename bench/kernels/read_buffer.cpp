#include "bench/kernels/read_buffer.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace troupe::bench {

namespace {

constexpr std::size_t huge_page_bytes = 2u << 20;

}  // namespace

result<read_buffer> read_buffer::create(std::size_t byte_count, page_kind pages) {
  const std::size_t size = (byte_count + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return error{errc::out_of_memory,
                 fmt::format("cannot map {} MiB to measure memory with", size >> 20)};
  }
  // A system without huge pages refuses; huge_share() tells.
  static_cast<void>(
      ::madvise(data, size, pages == page_kind::huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE));
  std::memset(data, 1, size);
  return read_buffer(static_cast<std::byte*>(data), size);
}

read_buffer::read_buffer(read_buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

read_buffer& read_buffer::operator=(read_buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

read_buffer::~read_buffer() {
  if (data_ != nullptr) ::munmap(data_, size_bytes_);
}

double read_buffer::huge_share() const {
  std::ifstream maps("/proc/self/smaps");
  const auto address = reinterpret_cast<std::uintptr_t>(data_);
  bool inside = false;
  std::size_t huge_kib = 0;
  for (std::string line; std::getline(maps, line);) {
    unsigned long first = 0, end = 0;
    std::size_t kib = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &end) == 2) {
      inside = first < address + size_bytes_ && end > address;
    } else if (inside && std::sscanf(line.c_str(), "AnonHugePages: %zu kB", &kib) == 1) {
      huge_kib += kib;
    }
  }
  const double share = static_cast<double>(huge_kib << 10) / static_cast<double>(size_bytes_);
  return share < 1.0 ? share : 1.0;
}

}  // namespace troupe::bench
