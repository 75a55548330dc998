// The conversions between a nested msgpack value and JSON text. Depth is bounded by the scans of
// both formats, so that recursion is safe.
#include <cmath>

#include <fmt/format.h>

#include "runtime/messages/json_text.hpp"
#include "runtime/messages/msgpack_value.hpp"
#include "runtime/messages/text_check.hpp"

namespace troupe {
namespace {

error refused(std::string_view why) {
  return {errc::invalid_argument, std::string(why)};
}

result<void> append_text(std::string& out, const msgpack::object_str& text) {
  const std::string_view view(text.ptr, text.size);
  if (!is_utf8(view)) return refused("holds text that is not valid UTF-8");
  append_json_string(out, view);
  return {};
}

result<void> append_value(std::string& out, const msgpack::object& value);

result<void> append_map(std::string& out, const msgpack::object_map& map) {
  out += '{';
  for (std::uint32_t i = 0; i < map.size; ++i) {
    if (i > 0) out += ',';
    if (map.ptr[i].key.type != msgpack::type::STR) {
      return refused(fmt::format("holds a map with a key that is {}; keys are text",
                                 type_name(map.ptr[i].key)));
    }
    TROUPE_TRY_VOID(append_text(out, map.ptr[i].key.via.str));
    out += ':';
    TROUPE_TRY_VOID(append_value(out, map.ptr[i].val));
  }
  out += '}';
  return {};
}

result<void> append_value(std::string& out, const msgpack::object& value) {
  switch (value.type) {
    case msgpack::type::NIL: out += "null"; return {};
    case msgpack::type::BOOLEAN: out += value.via.boolean ? "true" : "false"; return {};
    case msgpack::type::POSITIVE_INTEGER:
      append_json_number(out, std::uint64_t{value.via.u64});
      return {};
    case msgpack::type::NEGATIVE_INTEGER:
      append_json_number(out, std::int64_t{value.via.i64});
      return {};
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64:
      if (!std::isfinite(value.via.f64)) return refused("holds a number that is not finite");
      append_json_number(out, value.via.f64);
      return {};
    case msgpack::type::STR: return append_text(out, value.via.str);
    case msgpack::type::ARRAY:
      out += '[';
      for (std::uint32_t i = 0; i < value.via.array.size; ++i) {
        if (i > 0) out += ',';
        TROUPE_TRY_VOID(append_value(out, value.via.array.ptr[i]));
      }
      out += ']';
      return {};
    case msgpack::type::MAP: return append_map(out, value.via.map);
    case msgpack::type::BIN: return refused("holds binary, which JSON cannot carry; send text");
    default: return refused("holds a msgpack extension, which JSON cannot carry");
  }
}

using packer = msgpack::packer<msgpack::sbuffer>;

void pack_text(packer& out, const std::string& text) {
  out.pack_str(static_cast<std::uint32_t>(text.size()));
  out.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

void pack_tree(packer& out, const nlohmann::ordered_json& tree) {
  using kind = nlohmann::json::value_t;
  switch (tree.type()) {
    case kind::boolean: tree.get<bool>() ? out.pack_true() : out.pack_false(); return;
    case kind::number_integer: out.pack_int64(tree.get<std::int64_t>()); return;
    case kind::number_unsigned: out.pack_uint64(tree.get<std::uint64_t>()); return;
    case kind::number_float: pack_float64(out, tree.get<double>()); return;
    case kind::string: pack_text(out, tree.get_ref<const std::string&>()); return;
    case kind::array:
      out.pack_array(static_cast<std::uint32_t>(tree.size()));
      for (const auto& each : tree) pack_tree(out, each);
      return;
    case kind::object:
      out.pack_map(static_cast<std::uint32_t>(tree.size()));
      for (const auto& [key, each] : tree.items()) {
        pack_text(out, key);
        pack_tree(out, each);
      }
      return;
    default: out.pack_nil(); return;
  }
}

}  // namespace

result<std::string> json_of(const msgpack::object& value) {
  std::string out;
  TROUPE_TRY_VOID(append_value(out, value));
  return out;
}

void pack_json(packer& out, std::string_view json) {
  const auto tree = parse_json(json);
  TROUPE_CHECK_MESSAGE(tree.has_value(), tree.failure().message);
  pack_tree(out, *tree);
}

}  // namespace troupe
