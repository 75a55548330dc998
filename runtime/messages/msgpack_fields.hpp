// Message structs to msgpack maps and back, driven by their field lists (fields.hpp).
//
// Rules of the wire: text is UTF-8; binary is only accepted for byte vectors; an integer is
// accepted for a float, never the reverse; nil is accepted for optional fields only; a missing key
// keeps the default. The writer leaves out optional fields without a value, and empty arrays and
// maps.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/base/result.hpp"
#include "runtime/messages/fields.hpp"
#include "runtime/messages/msgpack_value.hpp"
#include "runtime/messages/nearest_name.hpp"
#include "runtime/messages/text_check.hpp"

namespace troupe::wire {

using packer = msgpack::packer<msgpack::sbuffer>;

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};

template <class T>
concept number_map = std::is_same_v<T, std::map<std::string, double>>;

/// Fields whose std::string holds JSON: nested msgpack values on the wire.
enum class json_shape : std::uint8_t { none, array_of_maps, map };
constexpr json_shape json_shape_of(std::string_view name) {
  if (name == "messages" || name == "tools") return json_shape::array_of_maps;
  if (name == "chat_template_kwargs") return json_shape::map;
  return json_shape::none;
}

/// What a member accepts, for messages and for the tables of docs/protocol.md.
template <class T>
constexpr std::string_view expected_type(std::string_view name) {
  if constexpr (is_optional<T>::value) {
    return expected_type<typename T::value_type>(name);
  } else if constexpr (std::is_same_v<T, std::string>) {
    switch (json_shape_of(name)) {
      case json_shape::array_of_maps: return "an array of maps";
      case json_shape::map: return "a map";
      case json_shape::none: return "text";
    }
    return "text";
  } else if constexpr (std::is_same_v<T, bool>) {
    return "a boolean";
  } else if constexpr (std::is_integral_v<T>) {
    return "an integer";
  } else if constexpr (std::is_floating_point_v<T>) {
    return "a float";
  } else if constexpr (std::is_same_v<T, std::vector<std::uint8_t>>) {
    return "binary";
  } else if constexpr (is_vector<T>::value) {
    using element = typename T::value_type;
    if constexpr (std::is_same_v<element, std::string>) return "an array of texts";
    if constexpr (std::is_integral_v<element>) return "an array of integers";
    return "an array of maps";
  } else if constexpr (number_map<T>) {
    return "a map of text to floats";
  } else {
    return "a map";
  }
}

/// Where a value stands, innermost first; put into words only when something is wrong with it.
struct place {
  const place* outer = nullptr;
  std::string_view name;               ///< of a field; empty for an element of an array
  std::optional<std::uint32_t> index;  ///< of an element

  /// Outermost first: "logprobs[3].chosen".
  [[nodiscard]] std::string text() const;
};

/// Reading stops at the first problem.
class reader {
 public:
  /// The value of a message: a map with known keys.
  template <message_struct T>
  result<void> read_message(const msgpack::object& value, T& out, const place& at) const {
    if (value.type != msgpack::type::MAP) return wrong_type(at, "a map", value);
    for (std::uint32_t i = 0; i < value.via.map.size; ++i) {
      const msgpack::object& key = value.via.map.ptr[i].key;
      if (key.type != msgpack::type::STR) {
        return refuse(at, fmt::format("has a key that is {}; keys are text", type_name(key)));
      }
      const std::string_view name(key.via.str.ptr, key.via.str.size);
      bool known = false;
      result<void> outcome;
      for_each_field(out, [&](std::string_view field_name, auto& member) {
        if (known || field_name != name) return;
        known = true;
        outcome = read(value.via.map.ptr[i].val, member, place{&at, field_name, {}}, field_name);
      });
      if (!outcome) return outcome;
      if (!known) return unknown_key<T>(at, name);
    }
    return {};
  }

 private:
  template <class T>
  result<void> read(const msgpack::object& value, T& out, const place& at,
                    std::string_view name) const {
    if constexpr (is_optional<T>::value) {
      if (value.type == msgpack::type::NIL) {
        out.reset();
        return {};
      }
      return read(value, out.emplace(), at, name);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (json_shape_of(name) != json_shape::none) return read_json(value, out, at, name);
      return read_text(value, out, at);
    } else if constexpr (std::is_same_v<T, bool>) {
      if (value.type != msgpack::type::BOOLEAN) return wrong_type(at, "a boolean", value);
      out = value.via.boolean;
      return {};
    } else if constexpr (std::is_integral_v<T>) {
      return read_integer(value, out, at);
    } else if constexpr (std::is_floating_point_v<T>) {
      return read_float(value, out, at);
    } else if constexpr (std::is_same_v<T, std::vector<std::uint8_t>>) {
      if (value.type != msgpack::type::BIN) return wrong_type(at, "binary", value);
      out.assign(value.via.bin.ptr, value.via.bin.ptr + value.via.bin.size);
      return {};
    } else if constexpr (is_vector<T>::value) {
      if (value.type != msgpack::type::ARRAY) {
        return wrong_type(at, expected_type<T>(name), value);
      }
      out.clear();
      out.reserve(value.via.array.size);
      for (std::uint32_t i = 0; i < value.via.array.size; ++i) {
        TROUPE_TRY_VOID(read(value.via.array.ptr[i], out.emplace_back(), place{&at, {}, i},
                             std::string_view{}));
      }
      return {};
    } else if constexpr (number_map<T>) {
      return read_number_map(value, out, at);
    } else {
      return read_message(value, out, at);
    }
  }

  template <class T>
  result<void> read_integer(const msgpack::object& value, T& out, const place& at) const {
    const bool negative = value.type == msgpack::type::NEGATIVE_INTEGER;
    if (!negative && value.type != msgpack::type::POSITIVE_INTEGER) {
      return wrong_type(at, "an integer", value);
    }
    const bool fits = negative ? std::in_range<T>(value.via.i64) : std::in_range<T>(value.via.u64);
    if (!fits) {
      return refuse(at, fmt::format("must be between {} and {}", std::numeric_limits<T>::min(),
                                    std::numeric_limits<T>::max()));
    }
    out = negative ? static_cast<T>(value.via.i64) : static_cast<T>(value.via.u64);
    return {};
  }

  template <message_struct T>
  static error unknown_key(const place& at, std::string_view name) {
    constexpr std::size_t count = std::tuple_size_v<decltype(T::fields())>;
    std::array<std::string_view, count> names;
    std::size_t i = 0;
    std::apply([&](const auto&... each) { ((names[i++] = each.name), ...); }, T::fields());
    return unknown_key_error(at, name, names);
  }

  result<void> read_text(const msgpack::object& value, std::string& out, const place& at) const;
  result<void> read_json(const msgpack::object& value, std::string& out, const place& at,
                         std::string_view name) const;
  result<void> read_float(const msgpack::object& value, double& out, const place& at) const;
  result<void> read_number_map(const msgpack::object& value, std::map<std::string, double>& out,
                               const place& at) const;
  static error unknown_key_error(const place& at, std::string_view name,
                                 std::span<const std::string_view> known);
  static error wrong_type(const place& at, std::string_view expected, const msgpack::object& value);
  static error refuse(const place& at, std::string_view why);
};

/// True for what the writer leaves out.
template <class T>
bool is_left_out(const T& value) {
  if constexpr (is_optional<T>::value) {
    return !value.has_value();
  } else if constexpr (is_vector<T>::value || number_map<T>) {
    return value.empty();
  } else {
    return false;
  }
}

void write_text(packer& out, std::string_view text);

template <message_struct T>
void write_message(packer& out, const T& message);

template <class T>
void write(packer& out, const T& value, std::string_view name) {
  if constexpr (is_optional<T>::value) {
    write(out, *value, name);
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (json_shape_of(name) != json_shape::none) {
      pack_json(out, value);
    } else {
      write_text(out, value);
    }
  } else if constexpr (std::is_floating_point_v<T>) {
    pack_float64(out, value);
  } else if constexpr (std::is_arithmetic_v<T>) {
    out.pack(value);
  } else if constexpr (std::is_same_v<T, std::vector<std::uint8_t>>) {
    const auto bytes = static_cast<std::uint32_t>(value.size());
    out.pack_bin(bytes);
    out.pack_bin_body(reinterpret_cast<const char*>(value.data()), bytes);
  } else if constexpr (is_vector<T>::value) {
    out.pack_array(static_cast<std::uint32_t>(value.size()));
    for (const auto& each : value) write(out, each, std::string_view{});
  } else if constexpr (number_map<T>) {
    out.pack_map(static_cast<std::uint32_t>(value.size()));
    for (const auto& [key, number] : value) {
      write_text(out, key);
      pack_float64(out, number);
    }
  } else {
    write_message(out, value);
  }
}

template <message_struct T>
void write_message(packer& out, const T& message) {
  std::uint32_t present = 0;
  for_each_field(message, [&](std::string_view, const auto& member) {
    present += is_left_out(member) ? 0u : 1u;
  });
  out.pack_map(present);
  for_each_field(message, [&](std::string_view name, const auto& member) {
    if (is_left_out(member)) return;
    write_text(out, name);
    write(out, member, name);
  });
}

}  // namespace troupe::wire
