// Tokenizers on vocabularies small enough to check by hand: ids, special tokens, broken and hostile
// text, and every way in which a file can be wrong. Equality with Hugging Face `tokenizers` is the
// business of tests/python/test_tokenizer_oracle.py.
#include "runtime/text/tokenizer.hpp"

#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/runtime/text/small_vocabularies.hpp"

namespace troupe {
namespace {

using test::byte_level_vocabulary;
using test::load;
using test::sentencepiece_vocabulary;

constexpr tokenizer::encode_options plain{.parse_special = false, .add_special = false};
constexpr tokenizer::encode_options special{.parse_special = true, .add_special = false};

std::vector<int> encode(const tokenizer& tokens, std::string_view text,
                        tokenizer::encode_options options = plain) {
  std::vector<int> ids;
  for (const token_id id : tokens.encode(text, options)) ids.push_back(static_cast<int>(id));
  return ids;
}

std::string decode(const tokenizer& tokens, const std::vector<int>& ids, bool skip_special = true) {
  std::vector<token_id> typed;
  for (const int id : ids) typed.push_back(static_cast<token_id>(id));
  return tokens.decode(typed, skip_special);
}

std::string failure(const test::gguf_bytes& metadata, errc code) {
  const auto loaded = load(metadata);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.failure().code == code);
  return loaded.failure().message;
}

using ids = std::vector<int>;
using Catch::Matchers::Contains;

}  // namespace

TEST_CASE("byte-level: merges by rank inside of pieces") {
  const auto tokens = load(byte_level_vocabulary("gpt-2").metadata()).value();
  CHECK(encode(*tokens, "hello") == ids{258, 'o'});
  CHECK(encode(*tokens, "hel hel") == ids{256, 'l', ' ', 256, 'l'});
  CHECK(encode(*tokens, "a  w") == ids{'a', ' ', 259});  // the spaces are in two pieces
  CHECK(encode(*tokens, "a   w") == ids{'a', 260, 259});
  CHECK(encode(*tokens, "") == ids{});
  CHECK(decode(*tokens, {258, 'o', 259}) == "hello w");
  CHECK(tokens->piece(token_id{259}) == " w");
  CHECK(tokens->token_text(token_id{259}) == "\xC4\xA0w");
  CHECK(tokens->find("hell") == token_id{258});
  CHECK(tokens->find("nope") == std::nullopt);
}

TEST_CASE("special tokens are text unless parsed; user-defined ones always match, the longest") {
  const auto tokens = load(byte_level_vocabulary("gpt-2").metadata()).value();
  const std::string end = "<|im_end|>";
  CHECK(encode(*tokens, end, special) == ids{261});
  CHECK(encode(*tokens, end + end + "o", special) == ids{261, 261, 'o'});
  CHECK(encode(*tokens, "<|im_end|", special).size() == 9);
  CHECK(encode(*tokens, end) == ids(end.begin(), end.end()));
  CHECK(encode(*tokens, "<think>") == ids{262});
  CHECK(encode(*tokens, "<think>!!") == ids{263, '!'});
  CHECK(tokens->is_special(token_id{261}));
  CHECK_FALSE(tokens->is_special(token_id{262}));
  CHECK(decode(*tokens, {'a', 261, 262}) == "a<think>");
  CHECK(decode(*tokens, {'a', 261, 262}, false) == "a<|im_end|><think>");
}

TEST_CASE("llama-bpe: a piece that is a token needs no merges") {
  auto words = byte_level_vocabulary("llama-bpe");
  words.add("whole");
  const auto tokens = load(words.metadata().number("tokenizer.ggml.bos_token_id", 'B')).value();
  CHECK(encode(*tokens, "whole wholes").front() == 264);
  CHECK(encode(*tokens, "wholes").size() == 6);
  CHECK(tokens->adds_bos());
  CHECK(encode(*tokens, "o", {.parse_special = false, .add_special = true}) == ids{'B', 'o'});
}

TEST_CASE("beginning and end tokens are what the file says") {
  auto file = byte_level_vocabulary("smollm").metadata();
  file.number("tokenizer.ggml.bos_token_id", 1).number("tokenizer.ggml.eos_token_id", 2);
  file.number("tokenizer.ggml.eot_token_id", 3).flag("tokenizer.ggml.add_bos_token", true);
  file.flag("tokenizer.ggml.add_eos_token", true);
  const auto tokens = load(file).value();
  CHECK(encode(*tokens, "o", {.parse_special = false, .add_special = true}) == ids{1, 'o', 2});
  CHECK(tokens->bos() == token_id{1});
  CHECK(tokens->eos() == token_id{2});
  CHECK(tokens->end_of_generation() ==
        std::vector<token_id>{token_id{2}, token_id{3}, token_id{261}});
  CHECK(tokens->is_end_of_generation(token_id{261}));
  CHECK_FALSE(tokens->is_end_of_generation(token_id{1}));
  CHECK(tokens->is_special(token_id{3}));
}

TEST_CASE("sentencepiece: best score first, bytes for the rest, a space in front") {
  const auto file = sentencepiece_vocabulary().metadata().number("tokenizer.ggml.bos_token_id", 1);
  const auto tokens = load(file).value();
  CHECK(encode(*tokens, "abc") == ids{263, 260});
  CHECK(encode(*tokens, "a b") == ids{262, 263, 265});
  CHECK(encode(*tokens, "\xC3\xA9") == ids{263, 3 + 0xC3, 3 + 0xA9});
  CHECK(encode(*tokens, "") == ids{});
  CHECK(encode(*tokens, "a<s>a", special) == ids{262, 1, 262});
  CHECK(encode(*tokens, "a", {.parse_special = false, .add_special = true}) == ids{1, 262});
  CHECK(decode(*tokens, {262, 263, 265}) == "a b");
  CHECK(decode(*tokens, {3 + 0xC3, 3 + 0xA9, 3 + 0xFF}) == "\xC3\xA9\xEF\xBF\xBD");
  CHECK(tokens->unknown() == token_id{0});
}

TEST_CASE("sentencepiece without a space in front keeps leading spaces") {
  auto file = sentencepiece_vocabulary().metadata().number("tokenizer.ggml.bos_token_id", 1);
  const auto tokens = load(file.flag("tokenizer.ggml.add_space_prefix", false)).value();
  CHECK(encode(*tokens, "abc") == ids{260});
  CHECK(decode(*tokens, encode(*tokens, " a")) == " a");
}

TEST_CASE("broken UTF-8 reads as U+FFFD, and strange ids as nothing") {
  const auto tokens = load(byte_level_vocabulary("gpt-2").metadata()).value();
  CHECK(encode(*tokens, "a\xFFo") == encode(*tokens, "a\xEF\xBF\xBDo"));
  CHECK(encode(*tokens, "\xE2\x82") == ids{0xEF, 0xBF, 0xBD});
  CHECK(encode(*tokens, std::string_view("\0o", 2)) == ids{0, 'o'});
  CHECK(decode(*tokens, {-1, 'o', 264, 1 << 30, 0xF0}) == "o\xEF\xBF\xBD");
  CHECK(tokens->piece(token_id{-1}).empty());
  CHECK(tokens->token_text(token_id{264}).empty());
  CHECK_FALSE(tokens->is_special(token_id{-1}));
}

TEST_CASE("what is encoded decodes to itself") {
  const unsigned seed = 3;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto file = sentencepiece_vocabulary().metadata().number("tokenizer.ggml.bos_token_id", 1);
  const auto bytes =
      load(byte_level_vocabulary("llama-bpe").metadata().number("tokenizer.ggml.bos_token_id", 1))
          .value();
  const auto pieces = load(file).value();
  const std::string parts[] = {"hell",    " ",  "\n",  "w",       "1", "\xF0\x9F\x99\x82",
                               "<think>", "'s", "abc", "\xC3\xA9"};
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (unsigned i = random() % 20; i > 0; --i) text += parts[random() % std::size(parts)];
    REQUIRE(bytes->decode(bytes->encode(text, plain), true) == text);
    REQUIRE(pieces->decode(pieces->encode(text, plain), true) == text);
  }
}

TEST_CASE("threads share a tokenizer") {
  const auto tokens =
      load(byte_level_vocabulary("qwen2").metadata().number("tokenizer.ggml.bos_token_id", 1))
          .value();
  const std::string text = "hello  w\xCC\x81 <think> 123 \xE4\xB8\xAD <|im_end|>\n";
  const auto expected = tokens->encode(text, special);
  std::atomic<int> wrong_count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 500; ++round)
        wrong_count += tokens->encode(text, special) != expected;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong_count == 0);
}

// A quadratic step anywhere would take hours for a megabyte; the bound allows for sanitizers.
TEST_CASE("a megabyte of anything takes seconds") {
  std::vector<std::string> texts;
  for (const std::string unit :
       {"a", "h", "l", " ", "\n", "7", "'", "<", "<think", "<|im_end|", "\xF0\x9F\x99\x82",
        "\xCC\x81", "\xCC\x81\xCC\xA3", "\xE4\xB8\xAD", " \n", "'s", "\xFF", "\xE2\x82"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    texts.push_back(text);
  }
  std::mt19937 random(1);
  std::string noise(1'000'000, '\0');
  for (char& byte : noise) byte = static_cast<char>(random());
  texts.push_back(noise);

  const auto start = std::chrono::steady_clock::now();
  for (const char* pre : {"gpt-2", "smollm", "qwen2", "llama-bpe", "sentencepiece"}) {
    const auto words = pre == std::string("sentencepiece") ? sentencepiece_vocabulary()
                                                           : byte_level_vocabulary(pre);
    const auto tokens = load(words.metadata().number("tokenizer.ggml.bos_token_id", 1)).value();
    for (const auto& text : texts) CHECK(tokens->encode(text, special).size() >= text.size() / 16);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  CHECK(seconds.count() < 300);
}

TEST_CASE("a file without or with the wrong arrays is an error that names the key") {
  CHECK_THAT(failure(test::gguf_bytes{}.number("x", 1), errc::not_found),
             Contains("tokenizer.ggml.model"));
  CHECK_THAT(failure(test::gguf_bytes{}.text("tokenizer.ggml.model", "gpt2"), errc::not_found),
             Contains("tokenizer.ggml.tokens"));
  auto words = byte_level_vocabulary("gpt-2");
  words.model = "bert";
  CHECK_THAT(failure(words.metadata(), errc::unsupported), Contains("bert"));
  CHECK_THAT(failure(byte_level_vocabulary("gpt-9").metadata(), errc::unsupported),
             Contains("gpt-9") && Contains("smollm"));
  words = byte_level_vocabulary("gpt-2");
  words.merges.clear();
  CHECK_THAT(failure(words.metadata(), errc::corrupt), Contains("tokenizer.ggml.merges"));
  words.types.pop_back();
  CHECK_THAT(failure(words.metadata(), errc::corrupt), Contains("tokenizer.ggml.token_type"));
  words = byte_level_vocabulary("gpt-2");
  words.types[7] = 9;
  CHECK_THAT(failure(words.metadata(), errc::corrupt), Contains("token_type[7]"));
  words = sentencepiece_vocabulary();
  words.scores.pop_back();
  CHECK_THAT(failure(words.metadata(), errc::corrupt), Contains("tokenizer.ggml.scores"));
  words.scores.push_back(std::numeric_limits<float>::quiet_NaN());
  CHECK_THAT(failure(words.metadata(), errc::corrupt), Contains("scores[266]"));
  words = byte_level_vocabulary("gpt-2");
  words.model = "llama";
  words.scores.assign(words.tokens.size(), 0.0F);
  CHECK_THAT(failure(words.metadata(), errc::not_found), Contains("tokenizer.ggml.bos_token_id"));
  CHECK_THAT(failure(test::gguf_bytes{}
                         .text("tokenizer.ggml.model", "gpt2")
                         .texts("tokenizer.ggml.tokens", {}),
                     errc::corrupt),
             Contains("empty"));
}

TEST_CASE("forged merges and ids are errors") {
  for (const char* merge : {"h", "h ", " h", "h e l", "h missing", "x y"}) {
    auto words = byte_level_vocabulary("gpt-2");
    words.merges.push_back(merge);
    CHECK_THAT(failure(words.metadata(), errc::corrupt), Contains("tokenizer.ggml.merges[5]"));
  }
  for (const char* key : {"bos", "eos", "eot", "eom", "unknown", "padding"}) {
    const std::string name = std::string("tokenizer.ggml.") + key + "_token_id";
    CHECK_THAT(failure(byte_level_vocabulary("gpt-2").metadata().number(name, 264), errc::corrupt),
               Contains(name));
  }
  CHECK_THAT(
      failure(byte_level_vocabulary("gpt-2").metadata().flag("tokenizer.ggml.bos_token_id", true),
              errc::corrupt),
      Contains("bos_token_id"));
}

TEST_CASE("absurdly long tokens are refused") {
  auto words = byte_level_vocabulary("gpt-2");
  words.add(std::string(5000, 'a'));
  CHECK_THAT(failure(words.metadata(), errc::unsupported), Contains("tokens[264]"));
  words = byte_level_vocabulary("gpt-2");
  words.add(std::string(300, '<'), 3);
  CHECK_THAT(failure(words.metadata(), errc::unsupported), Contains("tokens[264]"));
  words = sentencepiece_vocabulary();
  words.add(std::string(300, 'a'));
  CHECK_THAT(failure(words.metadata(), errc::unsupported), Contains("tokens[267]"));
}

TEST_CASE("random vocabularies load or fail, and what loads encodes") {
  const unsigned seed = 9;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  int loaded_count = 0;
  for (int round = 0; round < 400; ++round) {
    auto words = round % 2 == 0 ? byte_level_vocabulary("qwen2") : sentencepiece_vocabulary();
    for (unsigned flaw = random() % 3; flaw > 0; --flaw) {
      auto& token = words.tokens[random() % words.tokens.size()];
      switch (random() % 4) {
        case 0: token.clear(); break;
        case 1: token += static_cast<char>(random()); break;
        case 2: token = words.tokens[random() % words.tokens.size()]; break;
        default:
          words.types[random() % words.types.size()] = static_cast<std::int32_t>(random() % 8);
          break;
      }
    }
    const auto tokens = load(words.metadata().number("tokenizer.ggml.bos_token_id", 1));
    if (!tokens) continue;
    ++loaded_count;
    for (const token_id id : (*tokens)->encode("hello \xFF<|im_end|> abc", special)) {
      REQUIRE(to_index(id) < (*tokens)->vocab_size());
    }
  }
  CHECK(loaded_count > 100);
}

}  // namespace troupe
