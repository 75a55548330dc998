// Headers and payloads: every message survives the wire, every field refuses every wrong type by
// name, and defaults, nil, coercions and unknown keys behave as docs/protocol.md says.
#include "runtime/messages/envelope.hpp"

#include <functional>

#include <catch2/catch.hpp>

#include "config/limits.hpp"
#include "tests/runtime/messages/random_messages.hpp"

using namespace troupe;
using Catch::Contains;

namespace {

using packer = msgpack::packer<msgpack::sbuffer>;

std::string packed(const std::function<void(packer&)>& write) {
  msgpack::sbuffer buffer;
  packer out(buffer);
  write(out);
  return {buffer.data(), buffer.size()};
}

std::string one_key(std::string_view key, const std::function<void(packer&)>& value) {
  return packed([&](packer& out) {
    out.pack_map(1);
    wire::write_text(out, key);
    value(out);
  });
}

struct typed_value {
  std::string name;
  std::function<void(packer&)> write;
};

const std::vector<typed_value>& values_of_every_type() {
  static const std::vector<typed_value> values{
      {"nil", [](packer& out) { out.pack_nil(); }},
      {"a boolean", [](packer& out) { out.pack_true(); }},
      {"an integer", [](packer& out) { out.pack_uint8(3); }},
      {"a float", [](packer& out) { pack_float64(out, 2.0); }},
      {"text", [](packer& out) { wire::write_text(out, "x"); }},
      {"binary",
       [](packer& out) {
         out.pack_bin(1);
         out.pack_bin_body("x", 1);
       }},
      {"an array", [](packer& out) { out.pack_array(0); }},
      {"a map", [](packer& out) { out.pack_map(0); }},
      {"an extension",
       [](packer& out) {
         out.pack_ext(1, 5);
         out.pack_ext_body("x", 1);
       }},
  };
  return values;
}

bool accepts(std::string_view expected, bool optional, const std::string& given) {
  if (given == "nil") return optional;
  if (given == expected) return true;
  if (expected == "a float" && given == "an integer") return true;
  if (given == "an array") return expected.starts_with("an array");
  return given == "a map" && expected.starts_with("a map");
}

template <class T>
void check_every_field(message_kind kind) {
  T message;
  for_each_field(message, [&](std::string_view name, auto& member) {
    using member_type = std::decay_t<decltype(member)>;
    const std::string_view expected = wire::expected_type<member_type>(name);
    for (const typed_value& value : values_of_every_type()) {
      const auto outcome = decode_body(kind, one_key(name, value.write));
      CAPTURE(name, expected, value.name);
      if (accepts(expected, wire::is_optional<member_type>::value, value.name)) {
        CHECK(outcome.has_value());
      } else {
        REQUIRE(!outcome.has_value());
        CHECK(outcome.failure().code == errc::invalid_argument);
        CHECK_THAT(outcome.failure().message, Contains(std::string(name)) &&
                                                  Contains(std::string(expected)) &&
                                                  Contains(value.name));
      }
    }
  });
}

envelope_header random_header(test::message_source& source) {
  envelope_header header;
  header.kind = test::all_kinds[source.below(10)];
  for (std::uint64_t i = 1 + source.below(limits::request_id_bytes_max); i > 0; --i) {
    header.request_id += static_cast<char>(0x21 + source.below(0x7E - 0x21 + 1));
  }
  header.sequence = static_cast<std::uint32_t>(source.below(1ull << 32));
  header.offset = source.below(UINT64_MAX);
  header.service = all_lanes[source.below(3)];
  header.deadline_ms = source.below(limits::deadline_ms_max + 1);
  return header;
}

std::string header_bytes(const std::function<void(packer&)>& kind,
                         const std::function<void(packer&)>& id) {
  return packed([&](packer& out) {
    out.pack_array(7);
    out.pack(1);
    kind(out);
    id(out);
    out.pack(0);
    out.pack(0);
    wire::write_text(out, "realtime");
    out.pack(0);
  });
}

}  // namespace

TEST_CASE("every message survives the wire") {
  const std::uint64_t seed = 4711;
  CAPTURE(seed);
  test::message_source source(seed);
  for (int round = 0; round < 400; ++round) {
    for (const message_kind kind : test::all_kinds) {
      const message_body body = source.body(kind);
      REQUIRE(kind_of(body) == kind);
      const std::string bytes = encode_body(body);
      const auto back = decode_body(kind, bytes);
      CAPTURE(round, static_cast<int>(kind));
      if (!back) FAIL(back.failure().message);
      REQUIRE(test::same_body(body, *back));
      REQUIRE(encode_body(*back) == bytes);
    }
  }
}

TEST_CASE("every header survives the wire") {
  test::message_source source(4712);
  for (int round = 0; round < 2000; ++round) {
    const envelope_header header = random_header(source);
    const std::string bytes = encode_header(header);
    CHECK(bytes.size() <= limits::header_bytes_max);
    const auto back = decode_header(bytes);
    REQUIRE(back.has_value());
    CHECK(back->kind == header.kind);
    CHECK(back->request_id == header.request_id);
    CHECK(back->sequence == header.sequence);
    CHECK(back->offset == header.offset);
    CHECK(back->service == header.service);
    CHECK(back->deadline_ms == header.deadline_ms);
  }
}

TEST_CASE("headers of other versions, kinds and lanes are unsupported, bad ones corrupt") {
  envelope_header header;
  header.kind = message_kind::cancel;
  header.request_id = "a";
  header.version = 2;
  CHECK(decode_header(encode_header(header)).failure().code == errc::unsupported);
  CHECK_THAT(decode_header(encode_header(header)).failure().message, Contains("version 2"));
  const auto id = [](packer& out) { wire::write_text(out, "a"); };
  const auto kind = [](int number) { return [number](packer& out) { out.pack(number); }; };
  CHECK(decode_header(header_bytes(kind(6), id)).has_value());
  CHECK(decode_header(header_bytes(kind(0), id)).failure().code == errc::unsupported);
  CHECK(decode_header(header_bytes(kind(11), id)).failure().code == errc::unsupported);
  CHECK(decode_header(header_bytes(kind(-1), id)).failure().code == errc::corrupt);
  CHECK(decode_header(header_bytes(id, id)).failure().code == errc::corrupt);
  for (const std::string& bad :
       {std::string(), std::string(129, 'a'), std::string("a b"), std::string("\xC3\xA9"),
        std::string("a\n"), std::string(1, '\0')}) {
    const auto outcome =
        decode_header(header_bytes(kind(6), [&](packer& out) { wire::write_text(out, bad); }));
    REQUIRE(!outcome.has_value());
    CHECK(outcome.failure().code == errc::corrupt);
  }
  const auto no_id = [](packer& out) { wire::write_text(out, ""); };
  for (const int anonymous : {5, 8, 9, 10}) {
    CHECK(decode_header(header_bytes(kind(anonymous), no_id)).has_value());
  }
  CHECK(decode_header("").failure().code == errc::corrupt);
  CHECK(decode_header(std::string(600, '\x01')).failure().code == errc::corrupt);
  CHECK(decode_header(packed([](packer& out) { out.pack_map(0); })).failure().code ==
        errc::corrupt);
}

TEST_CASE("every field names itself and both types when the type is wrong") {
  check_every_field<submit>(message_kind::submit);
  check_every_field<accepted>(message_kind::accepted);
  check_every_field<delta>(message_kind::delta);
  check_every_field<finished>(message_kind::finished);
  check_every_field<error_reply>(message_kind::error);
  check_every_field<resume>(message_kind::resume);
  check_every_field<ping>(message_kind::ping);
  check_every_field<pong>(message_kind::pong);
  check_every_field<stats>(message_kind::stats);
}

TEST_CASE("an unknown key names itself and the nearest known one") {
  const auto nil = [](packer& out) { out.pack_nil(); };
  const auto failure = decode_body(message_kind::submit, one_key("temprature", nil)).failure();
  CHECK(failure.code == errc::invalid_argument);
  CHECK_THAT(failure.message, Contains("temprature") && Contains("did you mean `temperature`?"));
  const auto odd = decode_body(message_kind::submit, one_key("\xFF\n`qqqqqqqqqqqq", nil)).failure();
  CHECK_THAT(odd.message, Contains("???qqq") && !Contains("did you mean"));
  CHECK(!decode_body(message_kind::cancel, one_key("x", nil)).has_value());
}

TEST_CASE("missing keys keep their defaults, integers become floats, paths are exact") {
  const auto empty =
      decode_body(message_kind::submit, packed([](packer& out) { out.pack_map(0); }));
  REQUIRE(empty.has_value());
  CHECK(test::same(std::get<submit>(*empty), submit{}));
  const auto two = decode_body(message_kind::submit,
                               one_key("temperature", [](packer& out) { out.pack_int8(-2); }));
  CHECK(std::get<submit>(*two).temperature == -2.0);

  const auto nested = decode_body(message_kind::delta, one_key("logprobs", [](packer& out) {
                                    out.pack_array(2);
                                    out.pack_map(0);
                                    out.pack_map(1);
                                    wire::write_text(out, "chosen");
                                    out.pack_map(1);
                                    wire::write_text(out, "rank");
                                    out.pack_int8(-1);
                                  }));
  CHECK_THAT(nested.failure().message, Contains("`logprobs[1].chosen.rank` must be between 0 and"));
  const auto big = decode_body(message_kind::submit,
                               one_key("n", [](packer& out) { out.pack_uint64(UINT64_MAX); }));
  CHECK_THAT(big.failure().message, Contains("`n` must be between"));
}

TEST_CASE("text must be UTF-8, and nested JSON must be JSON") {
  const auto text = [](std::string_view value) {
    return [value](packer& out) { wire::write_text(out, value); };
  };
  for (const std::string_view bad :
       {"\xFF", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"}) {
    const auto outcome = decode_body(message_kind::submit, one_key("prompt", text(bad)));
    REQUIRE(!outcome.has_value());
    CHECK_THAT(outcome.failure().message, Contains("`prompt` is not valid UTF-8"));
  }
  const auto content = [&](const std::function<void(packer&)>& value) {
    return decode_body(message_kind::submit, one_key("messages", [&](packer& out) {
                         out.pack_array(1);
                         out.pack_map(1);
                         wire::write_text(out, "content");
                         value(out);
                       }));
  };
  CHECK(std::get<submit>(*content(text("hé\"\n"))).messages_json == R"([{"content":"hé\"\n"}])");
  CHECK(std::get<submit>(*content([](packer& out) { pack_float64(out, 1.0); })).messages_json ==
        R"([{"content":1.0}])");
  CHECK_THAT(content(text("\xFF")).failure().message, Contains("`messages`") && Contains("UTF-8"));
  CHECK_THAT(content(values_of_every_type()[5].write).failure().message, Contains("binary"));
  CHECK_THAT(content(values_of_every_type()[8].write).failure().message, Contains("extension"));
  CHECK_THAT(content([](packer& out) { pack_float64(out, std::nan("")); }).failure().message,
             Contains("not finite"));
  CHECK_THAT(content([](packer& out) {
               out.pack_map(1);
               out.pack(1);
               out.pack(1);
             })
                 .failure()
                 .message,
             Contains("a key that is an integer"));
  const auto element = decode_body(message_kind::submit, one_key("messages", [](packer& out) {
                                     out.pack_array(1);
                                     out.pack(1);
                                   }));
  CHECK_THAT(element.failure().message, Contains("`messages[0]` must be a map, not an integer"));
}
