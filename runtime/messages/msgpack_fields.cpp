// The parts of the codec that do not depend on a message's type.
#include "runtime/messages/msgpack_fields.hpp"

#include <cmath>

#include "config/limits.hpp"

namespace troupe::wire {
namespace {

// Names come from outside: what goes into a message is short and printable.
std::string shown(std::string_view name) {
  std::string out = "`";
  for (const char c : name.substr(0, 64)) out += c >= 0x20 && c < 0x7F && c != '`' ? c : '?';
  if (name.size() > 64) out += "...";
  return out + "`";
}

}  // namespace

std::string place::text() const {
  std::string out = outer == nullptr ? std::string{} : outer->text();
  if (index) return fmt::format("{}[{}]", out, *index);
  if (!out.empty() && !name.empty()) out += '.';
  return out += name;
}

error reader::refuse(const place& at, std::string_view why) {
  const std::string path = at.text();
  return {errc::invalid_argument,
          path.empty() ? fmt::format("the payload {}", why) : fmt::format("`{}` {}", path, why)};
}

error reader::wrong_type(const place& at, std::string_view expected, const msgpack::object& value) {
  return refuse(at, fmt::format("must be {}, not {}", expected, type_name(value)));
}

error reader::unknown_key_error(const place& at, std::string_view name,
                                std::span<const std::string_view> known) {
  const std::string_view near = nearest_name(name, known);
  return refuse(
      at, fmt::format("has an unknown key {}{}", shown(name),
                      near.empty() ? std::string{} : fmt::format("; did you mean `{}`?", near)));
}

result<void> reader::read_text(const msgpack::object& value, std::string& out,
                               const place& at) const {
  if (value.type != msgpack::type::STR) return wrong_type(at, "text", value);
  const std::string_view text(value.via.str.ptr, value.via.str.size);
  if (!is_utf8(text)) return refuse(at, "is not valid UTF-8");
  out.assign(text);
  return {};
}

result<void> reader::read_json(const msgpack::object& value, std::string& out, const place& at,
                               std::string_view name) const {
  const std::string_view expected = expected_type<std::string>(name);
  if (json_shape_of(name) == json_shape::map) {
    if (value.type != msgpack::type::MAP) return wrong_type(at, expected, value);
  } else {
    if (value.type != msgpack::type::ARRAY) return wrong_type(at, expected, value);
    for (std::uint32_t i = 0; i < value.via.array.size; ++i) {
      const msgpack::object& each = value.via.array.ptr[i];
      if (each.type != msgpack::type::MAP) {
        return wrong_type(place{&at, {}, i}, "a map", each);
      }
    }
  }
  auto text = json_of(value);
  if (!text) return refuse(at, text.failure().message);
  out = std::move(*text);
  return {};
}

result<void> reader::read_float(const msgpack::object& value, double& out, const place& at) const {
  switch (value.type) {
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64: out = value.via.f64; return {};
    case msgpack::type::POSITIVE_INTEGER: out = static_cast<double>(value.via.u64); return {};
    case msgpack::type::NEGATIVE_INTEGER: out = static_cast<double>(value.via.i64); return {};
    default: return wrong_type(at, "a float", value);
  }
}

result<void> reader::read_number_map(const msgpack::object& value,
                                     std::map<std::string, double>& out, const place& at) const {
  if (value.type != msgpack::type::MAP) return wrong_type(at, "a map of text to floats", value);
  out.clear();
  for (std::uint32_t i = 0; i < value.via.map.size; ++i) {
    std::string key;
    TROUPE_TRY_VOID(read_text(value.via.map.ptr[i].key, key, place{&at, "(a key)", {}}));
    double number = 0.0;
    TROUPE_TRY_VOID(read_float(value.via.map.ptr[i].val, number, place{&at, key, {}}));
    out.insert_or_assign(std::move(key), number);
  }
  return {};
}

void write_text(packer& out, std::string_view text) {
  out.pack_str(static_cast<std::uint32_t>(text.size()));
  out.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

}  // namespace troupe::wire
