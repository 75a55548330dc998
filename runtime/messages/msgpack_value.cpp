// The scan uses msgpack-c's own parser with a visitor, so that scan and unpacking agree on what the
// bytes mean. The library's exceptions end here.
#include "runtime/messages/msgpack_value.hpp"

#include <array>
#include <bit>

#include <fmt/format.h>

#include "config/limits.hpp"

namespace troupe {
namespace {

// Counts are checked when they are declared: each element takes at least one byte, so a count
// beyond the bytes of the frame is a lie that ends the scan at once.
class bounds_visitor : public msgpack::null_visitor {
 public:
  explicit bounds_visitor(std::size_t frame_bytes) : frame_bytes_(frame_bytes) {}

  bool start_array(std::uint32_t count) { return open(count); }
  bool end_array() { return close(); }
  bool start_map(std::uint32_t pairs) {
    keys_ += pairs;
    if (pairs > limits::map_keys_max) return stop("keys in one map", limits::map_keys_max);
    if (keys_ > limits::payload_keys_max) return stop("keys", limits::payload_keys_max);
    return open(std::size_t{pairs} * 2);
  }
  bool end_map() { return close(); }
  void parse_error(std::size_t, std::size_t at) { broken_at_ = at; }
  void insufficient_bytes(std::size_t, std::size_t at) { broken_at_ = at; }

  [[nodiscard]] const std::string& bound() const { return bound_; }
  [[nodiscard]] std::size_t broken_at() const { return broken_at_; }

 private:
  bool open(std::size_t count) {
    if (count > frame_bytes_) return false;
    elements_ += count;
    if (elements_ > limits::payload_elements_max) {
      return stop("values", limits::payload_elements_max);
    }
    if (++depth_ > limits::payload_depth_max) {
      return stop("levels of nesting", limits::payload_depth_max);
    }
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }
  bool stop(std::string_view what, std::size_t most) {
    bound_ = fmt::format("more than {} {}", most, what);
    return false;
  }

  std::size_t frame_bytes_;
  std::size_t depth_ = 0;
  std::size_t elements_ = 0;
  std::size_t keys_ = 0;
  std::size_t broken_at_ = 0;
  std::string bound_;
};

}  // namespace

result<msgpack::object_handle> unpack_bounded(std::string_view bytes, std::string_view what) {
  const auto corrupt = [&](std::string_view why) {
    return error{errc::corrupt, fmt::format("the {} is not valid msgpack: {}", what, why)};
  };
  if (bytes.size() > limits::payload_bytes_max) {
    return error{errc::invalid_argument,
                 fmt::format("the {} has {} bytes; at most {} are accepted", what, bytes.size(),
                             limits::payload_bytes_max)};
  }
  if (bytes.empty()) return corrupt("it is empty");
  bounds_visitor scan(bytes.size());
  std::size_t end = 0;
  try {
    if (!msgpack::parse(bytes.data(), bytes.size(), end, scan)) {
      if (!scan.bound().empty()) {
        return error{errc::invalid_argument, fmt::format("the {} has {}", what, scan.bound())};
      }
      return corrupt(fmt::format("it ends early or breaks at byte {}", scan.broken_at()));
    }
    if (end != bytes.size()) {
      return corrupt(fmt::format("{} bytes follow the value", bytes.size() - end));
    }
    msgpack::object_handle handle;
    end = 0;
    const auto refer = [](msgpack::type::object_type, std::size_t, void*) { return true; };
    const msgpack::unpack_limit limit(limits::payload_elements_max, limits::map_keys_max,
                                      limits::payload_bytes_max, limits::payload_bytes_max,
                                      limits::payload_bytes_max, limits::payload_depth_max + 1);
    msgpack::unpack(handle, bytes.data(), bytes.size(), end, refer, nullptr, limit);
    return handle;
  } catch (const std::exception& failure) {
    return corrupt(failure.what());
  }
}

std::string_view type_name(const msgpack::object& value) {
  switch (value.type) {
    case msgpack::type::NIL: return "nil";
    case msgpack::type::BOOLEAN: return "a boolean";
    case msgpack::type::POSITIVE_INTEGER:
    case msgpack::type::NEGATIVE_INTEGER: return "an integer";
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64: return "a float";
    case msgpack::type::STR: return "text";
    case msgpack::type::ARRAY: return "an array";
    case msgpack::type::MAP: return "a map";
    case msgpack::type::BIN: return "binary";
    case msgpack::type::EXT: return "an extension";
  }
  return "an unknown type";
}

void pack_float64(msgpack::packer<msgpack::sbuffer>& out, double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  std::array<char, 9> bytes{'\xcb'};
  for (std::size_t i = 0; i < 8; ++i) bytes[i + 1] = static_cast<char>(bits >> (56 - 8 * i));
  out.pack_bin_body(bytes.data(), bytes.size());  // appends as it stands
}

}  // namespace troupe
