// Reads the metadata entries of a GGUF file. Internal to gguf_parser.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/base/result.hpp"
#include "runtime/model/byte_cursor.hpp"
#include "runtime/model/gguf.hpp"

namespace troupe {

class gguf_metadata_reader {
 public:
  /// Reads on from where the cursor stands, and moves it.
  explicit gguf_metadata_reader(byte_cursor& cursor) : cursor_(cursor) {}

  /// One key and its value. Errors: corrupt, unsupported (an array of arrays).
  result<gguf_entry> read_entry();

 private:
  result<gguf_value> read_value(std::uint32_t type_code, const std::string& key);
  result<gguf_value> read_array(const std::string& key);
  template <class Stored, class Widened>
  result<gguf_value> read_numbers(std::size_t count);
  result<bool> read_bool(const std::string& key);

  byte_cursor& cursor_;
  std::uint64_t array_elements_ = 0;  // so far, of all arrays
};

}  // namespace troupe
