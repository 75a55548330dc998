// Payload frames: which struct belongs to which kind.
#include "runtime/messages/envelope.hpp"

#include "runtime/messages/msgpack_fields.hpp"

namespace troupe {
namespace {

template <class T>
result<message_body> decode_as(const msgpack::object& value) {
  T message;
  TROUPE_TRY_VOID(wire::reader{}.read_message(value, message, wire::place{}));
  return message_body(std::move(message));
}

// The alternatives of message_body stand in the order of the kinds.
static_assert(std::variant_size_v<message_body> == static_cast<std::size_t>(message_kind::stats));
static_assert(std::is_same_v<std::variant_alternative_t<0, message_body>, submit>);
static_assert(std::is_same_v<std::variant_alternative_t<4, message_body>, error_reply>);
static_assert(std::is_same_v<std::variant_alternative_t<9, message_body>, stats>);

}  // namespace

message_kind kind_of(const message_body& body) {
  return static_cast<message_kind>(body.index() + 1);
}

std::string encode_body(const message_body& body) {
  msgpack::sbuffer buffer(512);
  wire::packer out(buffer);
  std::visit([&](const auto& message) { wire::write_message(out, message); }, body);
  return {buffer.data(), buffer.size()};
}

result<message_body> decode_body(message_kind kind, std::string_view bytes) {
  TROUPE_TRY(const auto handle, unpack_bounded(bytes, "payload"));
  const msgpack::object& value = handle.get();
  switch (kind) {
    case message_kind::submit: return decode_as<submit>(value);
    case message_kind::accepted: return decode_as<accepted>(value);
    case message_kind::delta: return decode_as<delta>(value);
    case message_kind::finished: return decode_as<finished>(value);
    case message_kind::error: return decode_as<error_reply>(value);
    case message_kind::cancel: return decode_as<cancel>(value);
    case message_kind::resume: return decode_as<resume>(value);
    case message_kind::ping: return decode_as<ping>(value);
    case message_kind::pong: return decode_as<pong>(value);
    case message_kind::stats: return decode_as<stats>(value);
  }
  return error{errc::unsupported, "message kind is not known"};
}

}  // namespace troupe
