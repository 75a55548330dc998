// Streaming equals decoding everything at once, character by character, for any ids in any order.
#include "runtime/text/detokenizer.hpp"

#include <random>

#include <catch2/catch.hpp>

#include "runtime/text/utf8.hpp"
#include "tests/runtime/text/small_vocabularies.hpp"

namespace troupe {
namespace {

std::shared_ptr<const tokenizer> byte_level() {
  return test::load(test::byte_level_vocabulary("gpt-2").metadata()).value();
}

std::shared_ptr<const tokenizer> sentencepiece() {
  return test::load(
             test::sentencepiece_vocabulary().metadata().number("tokenizer.ggml.bos_token_id", 1))
      .value();
}

}  // namespace

TEST_CASE("a character waits for its last byte") {
  detokenizer text(byte_level(), {});
  CHECK(text.push(token_id{'a'}) == "a");
  CHECK(text.push(token_id{0xF0}) == "");
  CHECK(text.push(token_id{0x9F}) == "");
  CHECK(text.push(token_id{0x99}) == "");
  CHECK(text.push(token_id{0x82}) == "\xF0\x9F\x99\x82");
  CHECK(text.push(token_id{0xE4}) == "");
  CHECK(text.push(token_id{'b'}) ==
        "\xEF\xBF\xBD"
        "b");
  CHECK(text.push(token_id{0xC3}) == "");
  CHECK(text.finish() == "\xEF\xBF\xBD");
  CHECK(text.finish() == "");
}

TEST_CASE("the space in front of a text goes, a space after a prompt stays") {
  const auto tokens = sentencepiece();
  detokenizer whole(tokens, {});
  CHECK(whole.push(token_id{1}) == "");
  CHECK(whole.push(token_id{262}) == "a");
  CHECK(whole.push(token_id{262}) == " a");
  detokenizer rest(tokens, {.skip_special = true, .continues_prompt = true});
  CHECK(rest.push(token_id{262}) == " a");
  detokenizer shown(tokens, {.skip_special = false});
  CHECK(shown.push(token_id{1}) == "<s>");
  CHECK(shown.push(token_id{262}) == " a");
}

TEST_CASE("all pushes and the finish are the decoding of all ids") {
  const unsigned seed = 21;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const std::shared_ptr<const tokenizer> kinds[] = {byte_level(), sentencepiece()};
  for (int round = 0; round < 4000; ++round) {
    const auto& tokens = kinds[round % 2];
    const bool skip_special = random() % 2 == 0;
    detokenizer text(tokens, {.skip_special = skip_special});
    std::vector<token_id> ids;
    std::string streamed;
    for (unsigned i = random() % 16; i > 0; --i) {
      ids.push_back(
          static_cast<token_id>(static_cast<int>(random() % (tokens->vocab_size() + 2)) - 1));
      const std::string piece = text.push(ids.back());
      REQUIRE(utf8_is_valid(piece));
      streamed += piece;
    }
    streamed += text.finish();
    REQUIRE(streamed == tokens->decode(ids, skip_special));
  }
}

}  // namespace troupe
