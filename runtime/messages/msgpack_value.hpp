// One msgpack value from outside: bounded by a scan that allocates nothing in proportion to what
// the bytes claim, then unpacked. The only door by which foreign msgpack enters.
#pragma once

#include <string>
#include <string_view>

#define MSGPACK_NO_BOOST
#include <msgpack.hpp>

#include "kernels/base/result.hpp"

namespace troupe {

/// Strings and binaries of the value refer to `bytes`, which must outlive it. Errors: corrupt (not
/// msgpack, truncated, trailing bytes), invalid_argument (a bound of limits.hpp). `what` names the
/// frame in messages.
result<msgpack::object_handle> unpack_bounded(std::string_view bytes, std::string_view what);

/// "an integer", "text", "a map" ... for messages.
std::string_view type_name(const msgpack::object& value);

/// JSON text of a value. Errors (the message continues the name of a field): binary, extensions,
/// keys that are not text, NaN and infinity, text that is not UTF-8.
result<std::string> json_of(const msgpack::object& value);

/// Always the format float 64: msgpack-c's pack_double writes 1.0 as the integer 1.
void pack_float64(msgpack::packer<msgpack::sbuffer>& out, double value);

/// Packs JSON text. The text must be valid (parse_json): it comes from our own side.
void pack_json(msgpack::packer<msgpack::sbuffer>& out, std::string_view json);

}  // namespace troupe
