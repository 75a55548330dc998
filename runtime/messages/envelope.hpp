// The envelope of the client wire: header and payload frames, and their msgpack codec. Nothing from
// outside is trusted: counts, depth and total elements are bounded before anything is allocated
// (limits.hpp), and every failure is one error that says what was wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "kernels/base/result.hpp"
#include "runtime/messages/request.hpp"
#include "runtime/schedule/lane.hpp"

namespace troupe {

/// Values are the wire's numbers; they never change meaning.
enum class message_kind : std::uint8_t {
  submit = 1,
  accepted = 2,
  delta = 3,
  finished = 4,
  error = 5,
  cancel = 6,
  resume = 7,
  ping = 8,
  pong = 9,
  stats = 10,
};

/// msgpack array [version, kind, request id, sequence, offset, lane, deadline_ms].
struct envelope_header {
  std::uint32_t version = protocol_version;
  message_kind kind = message_kind::ping;
  std::string request_id;  ///< chosen by the client, 1 to 128 bytes of printable ASCII; empty for
                           ///< ping, pong, stats
  std::uint32_t sequence = 0;
  std::uint64_t offset = 0;       ///< in tokens
  lane service = lane::realtime;  ///< on the wire: "vip", "realtime", "async"
  std::uint64_t deadline_ms = 0;  ///< from arrival; 0: none
};

using message_body =
    std::variant<submit, accepted, delta, finished, error_reply, cancel, resume, ping, pong, stats>;

/// The kind that belongs to a body.
message_kind kind_of(const message_body& body);

std::string encode_header(const envelope_header& header);
/// Errors: corrupt (not msgpack, wrong shape, wrong types), unsupported (another version; unknown
/// kind or lane).
result<envelope_header> decode_header(std::string_view bytes);

std::string encode_body(const message_body& body);
/// A key that the message does not have is an error which names it and the nearest known one.
result<message_body> decode_body(message_kind kind, std::string_view bytes);

}  // namespace troupe
