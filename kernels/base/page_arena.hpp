// Memory for what is made once and lives as long as the program's model: large, never returned in
// parts, and on 2 MiB pages where the system grants them. Walking 66 MB of weights on 4 KiB pages
// costs 16,000 address translations a step, which under virtualization is a sixth of a decode step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace troupe {

class page_arena {
 public:
  page_arena() = default;
  ~page_arena();
  page_arena(const page_arena&) = delete;
  page_arena& operator=(const page_arena&) = delete;

  /// Zero-filled bytes on a 64-byte boundary, valid until the arena ends. Ends the process when the
  /// system refuses.
  std::uint8_t* allocate(std::size_t bytes);

 private:
  struct chunk {
    void* data = nullptr;
    std::size_t size_bytes = 0;
  };
  void add_chunk(std::size_t bytes_min);

  std::mutex mutex_;
  std::vector<chunk> chunks_;
  std::uint8_t* next_ = nullptr;
  std::size_t left_bytes_ = 0;
};

}  // namespace troupe
