// Writes GGUF bytes for tests: well-formed ones, and ones that lie about a count, an offset or a
// type.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/model/gguf.hpp"

namespace troupe::test {

using byte_vector = std::vector<std::byte>;

/// GGUF value type codes (ggml docs/gguf.md).
enum gguf_type : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

template <class T>
void append(byte_vector& out, const T& value) {
  const std::size_t at = out.size();
  out.resize(at + sizeof value);
  std::memcpy(out.data() + at, &value, sizeof value);
}

inline void append_string(byte_vector& out, std::string_view text) {
  append(out, static_cast<std::uint64_t>(text.size()));
  for (const char c : text) out.push_back(static_cast<std::byte>(c));
}

class gguf_builder {
 public:
  struct tensor {
    std::string name;
    std::vector<std::uint64_t> dimensions;
    std::uint32_t type = 0;
    byte_vector data;
    std::optional<std::uint64_t> offset = std::nullopt;  ///< a forged one
  };

  std::uint32_t magic = 0x46554747;
  std::uint32_t version = 3;
  std::optional<std::uint64_t> entry_count, tensor_count;  ///< forged ones
  std::uint64_t alignment = 32;  ///< of the layout; the key is set separately
  std::vector<std::pair<std::string, byte_vector>> entries;  ///< key; type code and value
  std::vector<tensor> tensors;

  gguf_builder() = default;
  /// A copy of a file, to be changed. Integers and floats widen to 64 bits.
  explicit gguf_builder(const gguf_file& file) {
    for (const gguf_entry& entry : file.entries()) {
      std::visit([&](const auto& value) { set(entry.key, value); }, entry.value);
    }
    for (const gguf_tensor& source : file.tensors()) {
      tensors.push_back({source.name, source.dimensions, static_cast<std::uint32_t>(source.type),
                         byte_vector(source.data.begin(), source.data.end())});
    }
  }

  /// Replaces or appends a key with a type code and the value's bytes as they are.
  void set_raw(const std::string& key, gguf_type type, const byte_vector& value) {
    byte_vector encoded;
    append(encoded, static_cast<std::uint32_t>(type));
    encoded.insert(encoded.end(), value.begin(), value.end());
    remove(key);
    entries.emplace_back(key, std::move(encoded));
  }
  template <class T>
  void set_number(const std::string& key, gguf_type type, T value) {
    byte_vector encoded;
    append(encoded, value);
    set_raw(key, type, encoded);
  }
  template <class T>
  void set_numbers(const std::string& key, gguf_type type, const std::vector<T>& values) {
    byte_vector encoded;
    append(encoded, static_cast<std::uint32_t>(type));
    append(encoded, static_cast<std::uint64_t>(values.size()));
    for (const T value : values) append(encoded, value);
    set_raw(key, array, encoded);
  }

  void set(const std::string& key, bool value) {
    set_number(key, boolean, static_cast<std::uint8_t>(value));
  }
  void set(const std::string& key, std::int64_t value) { set_number(key, i64, value); }
  void set(const std::string& key, std::uint64_t value) { set_number(key, u64, value); }
  void set(const std::string& key, double value) { set_number(key, f64, value); }
  void set(const std::string& key, const std::string& value) {
    byte_vector encoded;
    append_string(encoded, value);
    set_raw(key, string, encoded);
  }
  void set(const std::string& key, const std::vector<bool>& values) {
    set_numbers(key, boolean, std::vector<std::uint8_t>(values.begin(), values.end()));
  }
  void set(const std::string& key, const std::vector<std::int64_t>& values) {
    set_numbers(key, i64, values);
  }
  void set(const std::string& key, const std::vector<std::uint64_t>& values) {
    set_numbers(key, u64, values);
  }
  void set(const std::string& key, const std::vector<double>& values) {
    set_numbers(key, f64, values);
  }
  void set(const std::string& key, const std::vector<std::string>& values) {
    byte_vector encoded;
    append(encoded, static_cast<std::uint32_t>(string));
    append(encoded, static_cast<std::uint64_t>(values.size()));
    for (const std::string& value : values) append_string(encoded, value);
    set_raw(key, array, encoded);
  }

  void remove(const std::string& key) {
    std::erase_if(entries, [&](const auto& entry) { return entry.first == key; });
  }

  /// Float data 0, 1, 2, ... of the right length.
  void add_float_tensor(const std::string& name, const std::vector<std::uint64_t>& dimensions) {
    std::uint64_t count = 1;
    for (const std::uint64_t dimension : dimensions) count *= dimension;
    byte_vector data;
    for (std::uint64_t i = 0; i < count; ++i) append(data, static_cast<float>(i));
    tensors.push_back({name, dimensions, 0, std::move(data)});
  }
  tensor& find(const std::string& name) {
    return *std::find_if(tensors.begin(), tensors.end(),
                         [&](const tensor& t) { return t.name == name; });
  }
  void remove_tensor(const std::string& name) {
    std::erase_if(tensors, [&](const tensor& t) { return t.name == name; });
  }

  [[nodiscard]] byte_vector build() const {
    byte_vector out;
    append(out, magic);
    append(out, version);
    append(out, tensor_count.value_or(tensors.size()));
    append(out, entry_count.value_or(entries.size()));
    for (const auto& [key, encoded] : entries) {
      append_string(out, key);
      out.insert(out.end(), encoded.begin(), encoded.end());
    }
    std::uint64_t offset = 0;
    for (const tensor& t : tensors) {
      append_string(out, t.name);
      append(out, static_cast<std::uint32_t>(t.dimensions.size()));
      for (const std::uint64_t dimension : t.dimensions) append(out, dimension);
      append(out, t.type);
      append(out, t.offset.value_or(offset));
      offset += (t.data.size() + alignment - 1) / alignment * alignment;
    }
    for (const tensor& t : tensors) {
      out.resize((out.size() + alignment - 1) / alignment * alignment);
      out.insert(out.end(), t.data.begin(), t.data.end());
    }
    return out;
  }
};

}  // namespace troupe::test
