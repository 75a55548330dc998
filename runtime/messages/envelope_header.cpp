// The header frame: small, fixed shape, enough to admit or refuse a request without touching its
// payload.
#include <algorithm>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/messages/envelope.hpp"
#include "runtime/messages/msgpack_fields.hpp"

namespace troupe {
namespace {

constexpr std::uint32_t header_fields = 7;
constexpr std::string_view header_shape =
    "[version, kind, request id, sequence, offset, lane, deadline_ms]";

error corrupt(std::string message) {
  return {errc::corrupt, std::move(message)};
}

result<std::uint64_t> read_unsigned(const msgpack::object& value, std::string_view name,
                                    std::uint64_t most) {
  if (value.type != msgpack::type::POSITIVE_INTEGER) {
    return corrupt(fmt::format(
        "the header's {} must be an integer from 0, not {}", name,
        value.type == msgpack::type::NEGATIVE_INTEGER ? "a negative one" : type_name(value)));
  }
  if (value.via.u64 > most) {
    return corrupt(fmt::format("the header's {} is {}; at most {} is accepted", name,
                               std::uint64_t{value.via.u64}, most));
  }
  return std::uint64_t{value.via.u64};
}

result<std::string> read_text(const msgpack::object& value, std::string_view name) {
  if (value.type != msgpack::type::STR) {
    return corrupt(fmt::format("the header's {} must be text, not {}", name, type_name(value)));
  }
  return std::string(value.via.str.ptr, value.via.str.size);
}

bool may_be_anonymous(message_kind kind) {
  return kind == message_kind::ping || kind == message_kind::pong || kind == message_kind::stats ||
         kind == message_kind::error;
}

result<void> check_request_id(const envelope_header& header) {
  if (header.request_id.empty() && may_be_anonymous(header.kind)) return {};
  const bool printable = std::all_of(header.request_id.begin(), header.request_id.end(),
                                     [](char c) { return c >= 0x21 && c <= 0x7E; });
  if (header.request_id.empty() || header.request_id.size() > limits::request_id_bytes_max ||
      !printable) {
    return corrupt(
        fmt::format("the header's request id must be 1 to {} printable ASCII characters without "
                    "spaces",
                    limits::request_id_bytes_max));
  }
  return {};
}

}  // namespace

std::string encode_header(const envelope_header& header) {
  msgpack::sbuffer buffer(256);
  wire::packer out(buffer);
  out.pack_array(header_fields);
  out.pack_uint32(header.version);
  out.pack_uint8(static_cast<std::uint8_t>(header.kind));
  wire::write_text(out, header.request_id);
  out.pack_uint32(header.sequence);
  out.pack_uint64(header.offset);
  wire::write_text(out, to_string(header.service));
  out.pack_uint64(header.deadline_ms);
  return {buffer.data(), buffer.size()};
}

result<envelope_header> decode_header(std::string_view bytes) {
  if (bytes.size() > limits::header_bytes_max) {
    return corrupt(fmt::format("the header has {} bytes; at most {} are accepted", bytes.size(),
                               limits::header_bytes_max));
  }
  TROUPE_TRY(const auto handle, unpack_bounded(bytes, "header"));
  const msgpack::object& value = handle.get();
  if (value.type != msgpack::type::ARRAY || value.via.array.size == 0) {
    return corrupt(fmt::format("the header must be the array {}", header_shape));
  }
  const msgpack::object* part = value.via.array.ptr;
  envelope_header header;
  // First the version: another one may have another shape.
  TROUPE_TRY(const auto version, read_unsigned(part[0], "version", UINT32_MAX));
  if (version != protocol_version) {
    return error{errc::unsupported,
                 fmt::format("protocol version {} is not supported; this server speaks {}", version,
                             protocol_version)};
  }
  if (value.via.array.size != header_fields) {
    return corrupt(fmt::format("the header has {} fields instead of the {} of {}",
                               value.via.array.size, header_fields, header_shape));
  }
  TROUPE_TRY(const auto kind, read_unsigned(part[1], "kind", UINT64_MAX));
  if (kind < static_cast<std::uint64_t>(message_kind::submit) ||
      kind > static_cast<std::uint64_t>(message_kind::stats)) {
    return error{errc::unsupported, fmt::format("message kind {} is not known", kind)};
  }
  header.kind = static_cast<message_kind>(kind);
  TROUPE_TRY(header.request_id, read_text(part[2], "request id"));
  TROUPE_TRY_VOID(check_request_id(header));
  TROUPE_TRY(const auto sequence, read_unsigned(part[3], "sequence", UINT32_MAX));
  header.sequence = static_cast<std::uint32_t>(sequence);
  TROUPE_TRY(header.offset, read_unsigned(part[4], "offset", UINT64_MAX));
  TROUPE_TRY(const auto service, read_text(part[5], "lane"));
  const auto known_lane = parse_lane(service);
  if (!known_lane) {
    return error{errc::unsupported, "the header's lane must be \"vip\", \"realtime\" or \"async\""};
  }
  header.service = *known_lane;
  TROUPE_TRY(header.deadline_ms, read_unsigned(part[6], "deadline_ms", limits::deadline_ms_max));
  return header;
}

}  // namespace troupe
