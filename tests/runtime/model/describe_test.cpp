// Proves that `troupe model` shows the facts of a file, in text and in JSON that parses, and that
// text from the file cannot drive a terminal or break the JSON.
#include "runtime/model/describe.hpp"

#include <algorithm>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/runtime/model/gguf_builder.hpp"

using namespace troupe;
using namespace troupe::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

gguf_file open_tiny(const std::string& name) {
  auto file = gguf_file::open(TROUPE_SOURCE_DIR "/tests/models/" + name + ".gguf");
  REQUIRE(file.has_value());
  return std::move(file).value();
}

}  // namespace

TEST_CASE("the summary has the facts") {
  const std::string text = describe(open_tiny("tiny-qwen3"));
  for (const std::string part :
       {"name             tiny-qwen3\n", "architecture     qwen3\n", "served           yes\n",
        "GGUF version 3, 386,432 bytes", "94,624 in 24 tensors, 378,496 bytes",
        "F32         24 tensors", "context length   512 tokens",
        "4 heads, 2 KV heads, 24 elements a head, QK norm", "tied to the embedding",
        "gpt2, pre-tokenizer qwen2, 320 tokens", "EOS token        2 <|im_end|>",
        "chat template\n{% for message in messages %}"}) {
    CHECK_THAT(text, Contains(part));
  }
  CHECK_THAT(text, !Contains("fingerprint") && !Contains("blk.0."));
  CHECK(text.back() == '\n');
}

TEST_CASE("everything includes abbreviated metadata and all tensors") {
  const gguf_file file = open_tiny("tiny-llama3-rope");
  const std::string text = describe(file, detail_level::everything);
  CHECK_THAT(text, Contains("llama.rope.freq_base = 500000\n"));
  CHECK_THAT(text, Contains("\"<|im_start|>\"") && Contains(", ... 320 elements]"));
  CHECK_THAT(text, Contains("blk.0.attn_k.weight") && Contains("[64, 32]"));
  CHECK_THAT(text, Contains("fingerprint"));
  CHECK_THAT(text, Contains("71,872 in 13 tensors"));  // rope_freqs.weight holds no parameters
}

TEST_CASE("the JSON parses and has the facts") {
  const gguf_file file = open_tiny("tiny-qwen2");
  const json summary = json::parse(describe_json(file));
  CHECK(summary["architecture"] == "qwen2");
  CHECK(summary["served"] == true);
  CHECK(summary["parameter_count"] == 82496);
  CHECK(summary["types"]["F32"]["tensor_count"] == 26);
  CHECK(summary["tokenizer"]["eos_token_id"] == 2);
  CHECK(summary["tokenizer"]["vocab_size"] == 320);
  CHECK(summary["model"]["has_qkv_bias"] == true);
  CHECK(summary["context_length"] == 512);
  CHECK_FALSE(summary.contains("metadata"));

  const json everything = json::parse(describe_json(file, detail_level::everything));
  CHECK(everything["metadata"]["qwen2.block_count"] == 2);
  CHECK(everything["metadata"]["tokenizer.ggml.tokens"]["element_count"] == 320);
  CHECK(everything["metadata"]["tokenizer.ggml.add_bos_token"] == false);
  CHECK(everything["tensors"].size() == 26);
  CHECK(everything["fingerprint"].get<std::string>().size() == 16);
}

TEST_CASE("a model that cannot be served is described, with the reason") {
  gguf_builder builder;
  builder.set("general.architecture", std::string("mamba"));
  builder.set("mamba.context_length", std::uint64_t{2048});
  builder.add_float_tensor("token_embd.weight", {8, 4});
  const byte_vector bytes = builder.build();
  const auto file = gguf_file::parse(bytes, "mamba.gguf");
  REQUIRE(file.has_value());
  CHECK_THAT(describe(*file),
             Contains("served           no: mamba.gguf: the architecture \"mamba\"") &&
                 Contains("2,048 tokens") && Contains("name             none") &&
                 Contains("BOS token        none") && Contains("chat template    none"));
  const json facts = json::parse(describe_json(*file));
  CHECK(facts["served"] == false);
  CHECK_THAT(facts["not_served_because"].get<std::string>(), Contains("mamba"));
  CHECK(facts["tokenizer"]["bos_token_id"].is_null());
}

TEST_CASE("a file without anything is described") {
  const byte_vector bytes = gguf_builder().build();
  const auto file = gguf_file::parse(bytes, "empty");
  REQUIRE(file.has_value());
  CHECK_THAT(describe(*file, detail_level::everything), Contains("architecture     none"));
  CHECK(json::parse(describe_json(*file, detail_level::everything))["tensor_count"] == 0);
}

TEST_CASE("text from the file is made harmless") {
  const std::string escape = "\x1b]0;title\x07";
  const std::string c1_control = "\xC2\x9B";  // CSI as one character
  const std::string broken = "\xFF\xC0\xAF\xED\xA0\x80\xF5";
  gguf_builder builder;
  builder.set("general.architecture", escape);
  builder.set("general.name", c1_control + "\x7F" + broken + "\nnext, naïve 日本");
  builder.set(escape + "key", std::vector<std::string>{escape});
  builder.set("tokenizer.chat_template", "line\n\ttab" + escape);
  builder.add_float_tensor(escape, {1});
  const byte_vector bytes = builder.build();
  const auto file = gguf_file::parse(bytes, "hostile");
  REQUIRE(file.has_value());

  const std::string text = describe(*file, detail_level::everything);
  CHECK(std::none_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
  }));
  CHECK_THAT(text, !Contains(c1_control) && !Contains("\xFF"));
  CHECK_THAT(text,
             Contains("\\xc2\\x9b\\x7f\\xff\\xc0\\xaf\\xed\\xa0\\x80\\xf5\\nnext, naïve 日本\n"));
  CHECK_THAT(text, Contains("line\n\ttab\\x1b]0;title\\x07\n"));

  const std::string encoded = describe_json(*file, detail_level::everything);
  CHECK(std::all_of(encoded.begin(), encoded.end(),
                    [](char c) { return c == '\n' || (c >= 0x20 && c <= 0x7F); }));
  CHECK(json::accept(encoded));
}
