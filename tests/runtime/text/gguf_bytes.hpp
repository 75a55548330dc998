// Writes GGUF files of metadata alone, for tests that need one with a flaw in a chosen place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace troupe::test {

class gguf_bytes {
 public:
  gguf_bytes& text(std::string_view key, std::string_view value) {
    begin(key, 8);
    put_string(value);
    return *this;
  }
  gguf_bytes& number(std::string_view key, std::uint32_t value) {
    begin(key, 4);
    put(value);
    return *this;
  }
  gguf_bytes& flag(std::string_view key, bool value) {
    begin(key, 7);
    put(static_cast<std::uint8_t>(value));
    return *this;
  }
  gguf_bytes& texts(std::string_view key, const std::vector<std::string>& values) {
    begin_array(key, 8, values.size());
    for (const auto& value : values) put_string(value);
    return *this;
  }
  gguf_bytes& numbers(std::string_view key, const std::vector<std::int32_t>& values) {
    begin_array(key, 5, values.size());
    for (const auto value : values) put(value);
    return *this;
  }
  gguf_bytes& floats(std::string_view key, const std::vector<float>& values) {
    begin_array(key, 6, values.size());
    for (const auto value : values) put(value);
    return *this;
  }

  /// The finished file, version 3, without tensors.
  [[nodiscard]] std::vector<std::byte> bytes() const {
    gguf_bytes file;
    for (const char letter : {'G', 'G', 'U', 'F'}) file.put(letter);
    file.put(std::uint32_t{3});
    file.put(std::uint64_t{0});
    file.put(entry_count_);
    file.bytes_.insert(file.bytes_.end(), bytes_.begin(), bytes_.end());
    while (file.bytes_.size() % 32 != 0) file.put(std::uint8_t{0});
    return file.bytes_;
  }

 private:
  template <class Plain>
  void put(Plain value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(Plain));
    std::memcpy(bytes_.data() + at, &value, sizeof(Plain));
  }
  void put_string(std::string_view value) {
    put(std::uint64_t{value.size()});
    for (const char c : value) put(c);
  }
  void begin(std::string_view key, std::uint32_t type) {
    ++entry_count_;
    put_string(key);
    put(type);
  }
  void begin_array(std::string_view key, std::uint32_t type, std::size_t count) {
    begin(key, 9);
    put(type);
    put(std::uint64_t{count});
  }

  std::vector<std::byte> bytes_;
  std::uint64_t entry_count_ = 0;
};

}  // namespace troupe::test
