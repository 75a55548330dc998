// UTF-8 against the table of RFC 3629 over all code points, JSON strings and numbers against
// nlohmann's reader, and the nearest name against known misspellings.
#include <array>
#include <cmath>
#include <random>

#include <catch2/catch.hpp>

#include "runtime/messages/json_text.hpp"
#include "runtime/messages/nearest_name.hpp"
#include "runtime/messages/text_check.hpp"

using namespace troupe;

namespace {

std::string encoded(std::uint32_t point) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((point >> shift) & 0x3F)); };
  if (point < 0x80) return {static_cast<char>(point)};
  if (point < 0x800) return {static_cast<char>(0xC0 | point >> 6), tail(0)};
  if (point < 0x10000) return {static_cast<char>(0xE0 | point >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | point >> 18), tail(12), tail(6), tail(0)};
}

}  // namespace

TEST_CASE("all code points but surrogates are UTF-8") {
  int wrong = 0;
  for (std::uint32_t point = 0; point < 0x120000; ++point) {
    const bool valid = point < 0x110000 && (point < 0xD800 || point > 0xDFFF);
    wrong += is_utf8("padding " + encoded(point)) != valid;
    if (valid) wrong += utf8_length(encoded(point)) != 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("broken UTF-8 is seen") {
  for (const std::string_view bad : {"\x80", "\xC3", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF",
                                     "\xF8\x88\x80\x80\x80", "abcdefgh\xFF", "\xE2\x82"}) {
    CHECK(!is_utf8(bad));
  }
  CHECK(is_utf8(""));
  CHECK(utf8_length("a\xFF\xE2\x82\xAC") == 3);
}

TEST_CASE("written JSON reads back") {
  std::string all;
  for (int byte = 0; byte < 128; ++byte) all += static_cast<char>(byte);
  all += "é漢😀";
  std::string out;
  append_json_string(out, all);
  CHECK(nlohmann::json::parse(out).get<std::string>() == all);
  out.clear();
  append_json_string(out, "a\xFFz\xE2\x82");
  CHECK(nlohmann::json::parse(out).get<std::string>() == "a\uFFFDz\uFFFD\uFFFD");

  std::mt19937_64 random(6);
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t bits = random();
    double value;
    std::memcpy(&value, &bits, 8);
    out.clear();
    append_json_number(out, value);
    if (std::isfinite(value)) {
      CHECK(nlohmann::json::parse(out).is_number_float());
      CHECK(nlohmann::json::parse(out).get<double>() == value);
    } else {
      CHECK(out == "null");
    }
  }
  out.clear();
  append_json_number(out, 1.0);
  CHECK(out == "1.0");
}

TEST_CASE("the nearest name is the one meant") {
  constexpr std::array<std::string_view, 5> known{"temperature", "top_p", "top_k", "max_tokens",
                                                  "n"};
  CHECK(nearest_name("temprature", known) == "temperature");
  CHECK(nearest_name("topp", known) == "top_p");
  CHECK(nearest_name("max_token", known) == "max_tokens");
  CHECK(nearest_name("maxTokens", known) == "max_tokens");
  CHECK(nearest_name("zzzzzzzz", known).empty());
  CHECK(nearest_name("temp", known).empty());
  CHECK(nearest_name("max_new_tokens", known) == "max_tokens");
  CHECK(nearest_name("x", known).empty());
  CHECK(nearest_name("", known).empty());
  CHECK(nearest_name(std::string(10000, 'x'), known).empty());
}
