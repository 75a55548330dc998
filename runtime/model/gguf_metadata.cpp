#include "runtime/model/gguf_metadata.hpp"

#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/model/gguf_parser.hpp"

namespace troupe {

namespace {

// Value type codes of ggml docs/gguf.md.
enum class value_type : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

// The fewest bytes that an array element can take in the file; nullopt for an unknown type.
std::optional<std::size_t> element_bytes_min(value_type type) {
  switch (type) {
    case value_type::u8:
    case value_type::i8:
    case value_type::boolean: return 1;
    case value_type::u16:
    case value_type::i16: return 2;
    case value_type::u32:
    case value_type::i32:
    case value_type::f32: return 4;
    case value_type::u64:
    case value_type::i64:
    case value_type::f64:
    case value_type::string: return 8;  // a string is at least its 64-bit length
    case value_type::array: return 12;
  }
  return std::nullopt;
}

error corrupt(std::string message) {
  return {errc::corrupt, std::move(message)};
}
error unsupported(std::string message) {
  return {errc::unsupported, std::move(message)};
}

}  // namespace

result<gguf_entry> gguf_metadata_reader::read_entry() {
  const std::size_t start = cursor_.position();
  TROUPE_TRY(std::string key, cursor_.read_string(limits::gguf_key_bytes_max, "a metadata key"));
  if (key.empty()) return corrupt(fmt::format("the metadata key at byte {} is empty", start));
  TROUPE_TRY(const auto type, cursor_.read<std::uint32_t>("a metadata type"));
  TROUPE_TRY(gguf_value value, read_value(type, key));
  return gguf_entry{std::move(key), std::move(value)};
}

result<gguf_value> gguf_metadata_reader::read_value(std::uint32_t type_code,
                                                    const std::string& key) {
  const auto number = [this]<class Stored, class Widened>(Stored, Widened) -> result<gguf_value> {
    TROUPE_TRY(const Stored value, cursor_.read<Stored>("a metadata value"));
    return gguf_value(static_cast<Widened>(value));
  };
  switch (static_cast<value_type>(type_code)) {
    case value_type::u8: return number(std::uint8_t{}, std::uint64_t{});
    case value_type::u16: return number(std::uint16_t{}, std::uint64_t{});
    case value_type::u32: return number(std::uint32_t{}, std::uint64_t{});
    case value_type::u64: return number(std::uint64_t{}, std::uint64_t{});
    case value_type::i8: return number(std::int8_t{}, std::int64_t{});
    case value_type::i16: return number(std::int16_t{}, std::int64_t{});
    case value_type::i32: return number(std::int32_t{}, std::int64_t{});
    case value_type::i64: return number(std::int64_t{}, std::int64_t{});
    case value_type::f32: return number(float{}, double{});
    case value_type::f64: return number(double{}, double{});
    case value_type::boolean: {
      TROUPE_TRY(const bool value, read_bool(key));
      return gguf_value(value);
    }
    case value_type::string: {
      TROUPE_TRY(std::string value,
                 cursor_.read_string(limits::gguf_string_bytes_max, "a metadata string"));
      return gguf_value(std::move(value));
    }
    case value_type::array: return read_array(key);
  }
  return corrupt(
      fmt::format("metadata key {} has the unknown value type {}", printable(key), type_code));
}

result<bool> gguf_metadata_reader::read_bool(const std::string& key) {
  TROUPE_TRY(const auto byte, cursor_.read<std::uint8_t>("a metadata bool"));
  if (byte > 1) {
    return corrupt(
        fmt::format("metadata key {} holds the bool {} at byte {}; only 0 and 1 are valid",
                    printable(key), byte, cursor_.position() - 1));
  }
  return byte == 1;
}

result<gguf_value> gguf_metadata_reader::read_array(const std::string& key) {
  TROUPE_TRY(const auto type_code, cursor_.read<std::uint32_t>("an array's element type"));
  TROUPE_TRY(const auto claimed, cursor_.read<std::uint64_t>("an array's length"));
  const auto type = static_cast<value_type>(type_code);
  const auto element_bytes = element_bytes_min(type);
  if (!element_bytes) {
    return corrupt(fmt::format("metadata key {} is an array of the unknown type {}", printable(key),
                               type_code));
  }
  if (type == value_type::array) {
    return unsupported(fmt::format("metadata key {} is an array of arrays", printable(key)));
  }
  if (claimed > cursor_.left() / *element_bytes ||
      claimed > limits::gguf_array_elements_max - array_elements_) {
    return corrupt(
        fmt::format("metadata key {} claims {} array elements; {} bytes follow, and all arrays "
                    "together may have {}",
                    printable(key), claimed, cursor_.left(), limits::gguf_array_elements_max));
  }
  array_elements_ += claimed;
  const auto count = static_cast<std::size_t>(claimed);
  switch (type) {
    case value_type::u8: return read_numbers<std::uint8_t, std::uint64_t>(count);
    case value_type::u16: return read_numbers<std::uint16_t, std::uint64_t>(count);
    case value_type::u32: return read_numbers<std::uint32_t, std::uint64_t>(count);
    case value_type::u64: return read_numbers<std::uint64_t, std::uint64_t>(count);
    case value_type::i8: return read_numbers<std::int8_t, std::int64_t>(count);
    case value_type::i16: return read_numbers<std::int16_t, std::int64_t>(count);
    case value_type::i32: return read_numbers<std::int32_t, std::int64_t>(count);
    case value_type::i64: return read_numbers<std::int64_t, std::int64_t>(count);
    case value_type::f32: return read_numbers<float, double>(count);
    case value_type::f64: return read_numbers<double, double>(count);
    case value_type::boolean: {
      std::vector<bool> values(count);
      for (std::size_t i = 0; i < count; ++i) {
        TROUPE_TRY(values[i], read_bool(key));
      }
      return gguf_value(std::move(values));
    }
    case value_type::string: {
      std::vector<std::string> values;
      values.reserve(count);
      for (std::size_t i = 0; i < count; ++i) {
        TROUPE_TRY(std::string value,
                   cursor_.read_string(limits::gguf_string_bytes_max, "an array's string"));
        values.push_back(std::move(value));
      }
      return gguf_value(std::move(values));
    }
    case value_type::array: break;
  }
  return error{errc::internal, "an array type was not handled"};
}

template <class Stored, class Widened>
result<gguf_value> gguf_metadata_reader::read_numbers(std::size_t count) {
  std::vector<Widened> values(count);
  for (Widened& value : values) {
    TROUPE_TRY(const Stored stored, cursor_.read<Stored>("an array element"));
    value = static_cast<Widened>(stored);
  }
  return gguf_value(std::move(values));
}

}  // namespace troupe
