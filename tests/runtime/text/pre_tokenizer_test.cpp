// Each split rule against pieces worked out from its published regular expression, and cutting in
// linear time. tests/python/test_tokenizer_oracle.py compares thousands of texts with the
// expressions themselves.
#include "runtime/text/pre_tokenizer.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace troupe {
namespace {

using pieces = std::vector<std::string>;

pieces split(split_rule rule, std::string_view text) {
  pieces out;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = piece_end(rule, text, begin);
    REQUIRE(end > begin);
    REQUIRE(end <= text.size());
    out.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return out;
}

}  // namespace

TEST_CASE("gpt2: words take one space, runs of space leave it") {
  const auto rule = split_rule::gpt2;
  CHECK(split(rule, "Hello world") == pieces{"Hello", " world"});
  CHECK(split(rule, "a   b") == pieces{"a", "  ", " b"});
  CHECK(split(rule, "a  ") == pieces{"a", "  "});
  CHECK(split(rule, "a\n\nb") == pieces{"a", "\n", "\n", "b"});
  CHECK(split(rule, "a\tb") == pieces{"a", "\t", "b"});
  CHECK(split(rule, "abc123 456!?") == pieces{"abc", "123", " 456", "!?"});
  CHECK(split(rule, "a  1") == pieces{"a", " ", " 1"});
}

TEST_CASE("gpt2: contractions are lower case and only at the start of a piece") {
  const auto rule = split_rule::gpt2;
  CHECK(split(rule, "it's we'll I'd") == pieces{"it", "'s", " we", "'ll", " I", "'d"});
  CHECK(split(rule, "IT'S") == pieces{"IT", "'", "S"});
  CHECK(split(rule, "!'s") == pieces{"!'", "s"});
  CHECK(split(rule, "x'rx'l") == pieces{"x", "'", "rx", "'", "l"});
}

TEST_CASE("smollm: every number alone, and its place ends the text before it") {
  const auto rule = split_rule::smollm;
  CHECK(split(rule, "a123") == pieces{"a", "1", "2", "3"});
  CHECK(split(rule, "a  1") == pieces{"a", "  ", "1"});
  CHECK(split(rule, " 1") == pieces{" ", "1"});
  CHECK(split(rule, "a  b\xC2\xBD") == pieces{"a", " ", " b", "\xC2\xBD"});
}

TEST_CASE("qwen2 and llama3: one leading character, newlines end a run, numbers by one or three") {
  for (const auto rule : {split_rule::qwen2, split_rule::llama3}) {
    CHECK(split(rule, "(foo) bar") == pieces{"(foo", ")", " bar"});
    CHECK(split(rule, "\tfoo") == pieces{"\tfoo"});
    CHECK(split(rule, "a \n\n  b") == pieces{"a", " \n\n", " ", " b"});
    CHECK(split(rule, "x;\r\n\ny") == pieces{"x", ";\r\n\n", "y"});
    CHECK(split(rule, "\nfoo") == pieces{"\n", "foo"});
    CHECK(split(rule, " !!\n") == pieces{" !!\n"});
    CHECK(split(rule, "IT'S 'Ll") == pieces{"IT", "'S", " '", "Ll"});
    CHECK(split(rule, "x'\xC5\xBF") == pieces{"x", "'\xC5\xBF"});
    CHECK(split(rule, "a  1") == pieces{"a", " ", " ", "1"});
  }
  CHECK(split(split_rule::qwen2, "1234") == pieces{"1", "2", "3", "4"});
  CHECK(split(split_rule::llama3, "1234") == pieces{"123", "4"});
}

TEST_CASE("marks and controls are neither letters nor spaces") {
  CHECK(split(split_rule::gpt2, "e\xCC\x81x") == pieces{"e", "\xCC\x81", "x"});
  CHECK(split(split_rule::gpt2, std::string_view("a\0b", 3)) ==
        pieces{"a", std::string(1, '\0'), "b"});
  CHECK(split(split_rule::llama3, "\xC2\xA0x") == pieces{"\xC2\xA0x"});
}

}  // namespace troupe
