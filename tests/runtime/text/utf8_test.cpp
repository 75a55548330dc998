// Broken UTF-8 becomes U+FFFD once for each maximal invalid part (examples of the Unicode Standard,
// section 3.9), the same whatever way the bytes are cut into pieces; and NFC by the examples of UAX
// #15.
#include "runtime/text/utf8.hpp"

#include <random>
#include <string>

#include <catch2/catch.hpp>

#include "runtime/text/unicode.hpp"

namespace troupe {
namespace {

const std::string bad = "\xEF\xBF\xBD";

std::string encoded(char32_t code) {
  std::string text;
  utf8_append(text, code);
  return text;
}

}  // namespace

TEST_CASE("every scalar value survives, and no surrogate does") {
  for (char32_t code = 0; code < 0x110000; ++code) {
    const std::string text = encoded(code);
    const bool is_scalar = code < 0xD800 || code > 0xDFFF;
    if (utf8_is_valid(text) != is_scalar) FAIL("U+" << std::hex << static_cast<unsigned>(code));
    if (!is_scalar) continue;
    const utf8_char decoded = utf8_decode(text, 0);
    if (decoded.code != code || decoded.length_bytes != text.size()) {
      FAIL("U+" << std::hex << static_cast<unsigned>(code));
    }
  }
}

TEST_CASE("each maximal invalid part is one replacement character") {
  CHECK(utf8_repair("ab\xFF") == "ab" + bad);
  CHECK(utf8_repair("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") ==
        bad + bad + bad + bad + bad + bad + bad + bad + "A");
  CHECK(utf8_repair("\xED\xA0\x80\x41") == bad + bad + bad + "A");
  CHECK(utf8_repair("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") ==
        bad + bad + bad + bad + bad + "A" + bad + bad + "B");
  CHECK(utf8_repair("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == bad + bad + bad + bad + "A");
}

TEST_CASE("a stream repairs like the whole, and never emits part of a character") {
  const unsigned seed = 11;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const std::string parts[] = {"a",        "\xC3\xA9", "\xE4\xB8\xAD", "\xF0\x9F\x99\x82", "\xFF",
                               "\xE4\xB8", "\xF0\x9F", "\x80",         "\xED\xA0"};
  for (int round = 0; round < 2000; ++round) {
    std::string bytes, streamed;
    for (unsigned i = random() % 12; i > 0; --i) bytes += parts[random() % std::size(parts)];
    utf8_stream stream;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t length = 1 + random() % 3;
      const std::string out = stream.push(std::string_view(bytes).substr(at, length));
      REQUIRE(utf8_is_valid(out));
      REQUIRE(stream.held_bytes() <= 3);
      streamed += out;
      at += length;
    }
    streamed += stream.finish();
    REQUIRE(streamed == utf8_repair(bytes));
  }
}

TEST_CASE("NFC composes, orders marks and honours exclusions") {
  CHECK(to_nfc("e\xCC\x81") == "\xC3\xA9");
  CHECK(to_nfc("\xE2\x84\xAB") == "\xC3\x85");           // ANGSTROM SIGN
  CHECK(to_nfc("a\xCC\x82\xCC\xA3") == "\xE1\xBA\xAD");  // reordered, then both compose
  CHECK(to_nfc("q\xCC\x87\xCC\xA3") == "q\xCC\xA3\xCC\x87");
  CHECK(to_nfc("\xE0\xA5\x98") == "\xE0\xA4\x95\xE0\xA4\xBC");              // U+0958 is excluded
  CHECK(to_nfc("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8") == "\xEA\xB0\x81");  // Hangul L V T
  CHECK(to_nfc("\xEA\xB0\x80\xE1\x86\xA8") == "\xEA\xB0\x81");              // Hangul LV T
  CHECK(to_nfc("a\xCC\xB4\xCC\x81") == "\xC3\xA1\xCC\xB4");  // past a mark of a lower class
  CHECK(to_nfc("\xCC\x81 e") == "\xCC\x81 e");
  CHECK(to_nfc("") == "");
}

}  // namespace troupe
