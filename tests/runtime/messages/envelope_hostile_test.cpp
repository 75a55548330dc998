// Hostile bytes: truncation at every byte, random mutations, depth bombs and counts that lie.
// Nothing may crash, hang or allocate by what the bytes claim; a failure is one error value.
#include <atomic>
#include <cstdlib>
#include <new>

#include <catch2/catch.hpp>

#include "config/limits.hpp"
#include "runtime/messages/envelope.hpp"
#include "runtime/messages/json_text.hpp"
#include "tests/runtime/messages/random_messages.hpp"

using namespace troupe;
using Catch::Contains;

namespace {

std::atomic<std::size_t> largest_allocation{0};

std::string big_endian(std::uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
  return out;
}

std::string joined(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const std::string_view part : parts) out.append(part);
  return out;
}

void decode_all(const std::string& bytes) {
  (void)decode_header(bytes);
  for (const message_kind kind : test::all_kinds) {
    const auto body = decode_body(kind, bytes);
    if (!body) CHECK(!body.failure().message.empty());
  }
}

}  // namespace

// Every operator new of this binary goes through here, so that the tests below see the largest
// request. The nothrow form is replaced as well: sanitizers want each new and delete to be of one
// kind.
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  std::size_t seen = largest_allocation.load();
  while (bytes > seen && !largest_allocation.compare_exchange_weak(seen, bytes)) {
  }
  return std::malloc(bytes == 0 ? 1 : bytes);
}
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  if (void* memory = operator new(bytes, std::nothrow)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

TEST_CASE("a message cut at any byte is corrupt") {
  test::message_source source(815);
  for (const message_kind kind : test::all_kinds) {
    for (int round = 0; round < 20; ++round) {
      const std::string bytes = encode_body(source.body(kind));
      if (bytes.size() > 4000) continue;
      for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto outcome = decode_body(kind, std::string_view(bytes).substr(0, size));
        REQUIRE(!outcome.has_value());
        REQUIRE(outcome.failure().code == errc::corrupt);
      }
      REQUIRE(decode_body(kind, bytes + '\xc0').failure().code == errc::corrupt);
    }
  }
  envelope_header header;
  header.request_id = "abc";
  const std::string bytes = encode_header(header);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    REQUIRE(decode_header(std::string_view(bytes).substr(0, size)).failure().code == errc::corrupt);
  }
}

TEST_CASE("a hundred thousand mutated messages give values or errors") {
  const std::uint64_t seed = 20250101;
  CAPTURE(seed);
  test::message_source source(seed);
  std::vector<std::string> originals;
  for (const message_kind kind : test::all_kinds) {
    while (originals.size() % 8 != 7 || originals.empty()) {
      std::string bytes = encode_body(source.body(kind));
      if (bytes.size() < 3000) originals.push_back(std::move(bytes));
      if (originals.size() % 8 == 7) break;
    }
    originals.push_back(encode_header({.version = 1, .kind = kind, .request_id = "r"}));
  }
  largest_allocation = 0;
  for (int round = 0; round < 100000; ++round) {
    std::string bytes = originals[source.below(originals.size())];
    for (std::uint64_t i = 1 + source.below(4); i > 0; --i) {
      const std::size_t at = source.below(bytes.size());
      switch (source.below(4)) {
        case 0: bytes[at] = static_cast<char>(source.below(256)); break;
        case 1: bytes.insert(at, 1, static_cast<char>(0xc0 + source.below(64))); break;
        case 2: bytes.erase(at, 1 + source.below(3)); break;
        default: bytes[at] = static_cast<char>(bytes[at] ^ (1 << source.below(8)));
      }
      if (bytes.empty()) bytes.push_back('\x80');
    }
    if (round % 8 == 0) {
      decode_all(bytes);
    } else {
      const auto kind = test::all_kinds[source.below(10)];
      (void)decode_body(kind, bytes);
      (void)decode_header(bytes);
    }
  }
  CHECK(largest_allocation < (8u << 20));
}

TEST_CASE("counts that lie are refused without allocating") {
  for (const char type :
       {'\xdd', '\xdf', '\xdb', '\xc6', '\xc9'}) {  // array, map, str, bin, ext 32
    for (const std::uint32_t count : {0xFFFFFFFFu, 0x7FFFFFFFu, 100'000'000u, 500'000u}) {
      const std::string lie = std::string(1, type) + big_endian(count);
      // As the whole payload, as a value, and nested.
      const std::string in_field = joined({"\x81\xa4stop", lie});
      const std::string nested = joined({"\x81\xa8messages\x91\x81\xa1x", lie});
      for (const std::string& bytes : {lie, in_field, nested}) {
        largest_allocation = 0;
        const auto outcome = decode_body(message_kind::submit, bytes);
        const std::size_t allocated = largest_allocation;
        REQUIRE(!outcome.has_value());
        CHECK(allocated < 4096);
      }
    }
  }
}

TEST_CASE("depth and element bombs are refused") {
  std::string deep(100'000, '\x91');
  deep += '\xc0';
  largest_allocation = 0;
  auto outcome = decode_body(message_kind::submit, deep);
  std::size_t allocated = largest_allocation;
  CHECK_THAT(outcome.failure().message, Contains("levels of nesting"));
  CHECK(allocated < 4096);

  const std::uint32_t many = static_cast<std::uint32_t>(limits::payload_elements_max) + 1;
  const std::string wide =
      "\x81\xb0prompt_token_ids\xdd" + big_endian(many) + std::string(many, '\x01');
  largest_allocation = 0;
  outcome = decode_body(message_kind::submit, wide);
  allocated = largest_allocation;
  CHECK_THAT(outcome.failure().message, Contains("values"));
  CHECK(allocated < 4096);

  std::string keys = "\x81\xaalogit_bias\xde\x04\x01";
  for (int i = 0; i < 1025; ++i) keys += "\xa1x\x01";
  CHECK_THAT(decode_body(message_kind::submit, keys).failure().message,
             Contains("keys in one map"));

  const std::string huge(limits::payload_bytes_max + 1, '\xc0');
  CHECK_THAT(decode_body(message_kind::submit, huge).failure().message, Contains("bytes"));

  // The longest prompt that is allowed passes.
  const std::uint32_t most = static_cast<std::uint32_t>(limits::payload_elements_max) - 4;
  const std::string fits =
      "\x81\xb0prompt_token_ids\xdd" + big_endian(most) + std::string(most, '\x01');
  CHECK(decode_body(message_kind::submit, fits).has_value());
}

TEST_CASE("JSON bombs are refused before they are parsed") {
  const auto message = [](const std::string& text) {
    largest_allocation = 0;
    const auto outcome = parse_json(text);
    REQUIRE(!outcome.has_value());
    return outcome.failure().message;
  };
  CHECK_THAT(message(std::string(100'000, '[')), Contains("levels of nesting"));
  CHECK_THAT(message(joined({"[", std::string(600'000, ','), "]"})), Contains("values"));
  std::string keys = "{";
  for (int i = 0; i < 2000; ++i) keys += joined({"\"", std::to_string(i), "\":1,"});
  CHECK_THAT(message(keys), Contains("keys in one object"));
  CHECK_THAT(message(std::string(limits::payload_bytes_max + 1, ' ')), Contains("bytes"));
  CHECK(largest_allocation < 4096);
  CHECK_THAT(message(R"({"a":"\ud800"})"), Contains("malformed JSON"));
  CHECK_THAT(message("{\"a\":\"\xFF\"}"), Contains("UTF-8"));
  CHECK_THAT(message("[1e999]"), Contains("malformed JSON"));
  CHECK_THAT(message("[NaN]"), Contains("malformed JSON"));
  CHECK_THAT(message(""), Contains("malformed JSON"));
  CHECK_THAT(message("{} {}"), Contains("malformed JSON"));
  // Brackets inside strings are text.
  CHECK(parse_json(joined({"\"", std::string(100, '['), "\\\"[\""})).has_value());
}
