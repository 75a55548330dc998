// Proves that each architecture's sizes, parts and RoPE frequencies are read as transformers has
// them (goldens beside the tiny models), and that a model with anything missing, misshapen or
// unknown is refused before weights are loaded: every needed tensor and key is taken away in turn.
#include "runtime/model/model_description.hpp"

#include <cmath>
#include <fstream>
#include <random>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "config/limits.hpp"
#include "runtime/model/describe.hpp"
#include "tests/runtime/model/gguf_builder.hpp"

using namespace troupe;
using namespace troupe::test;
using Catch::Matchers::Contains;

namespace {

const std::string model_folder = TROUPE_SOURCE_DIR "/tests/models/";
const std::vector<std::string> tiny_models = {"tiny-llama", "tiny-llama3-rope", "tiny-llama-linear",
                                              "tiny-qwen2", "tiny-qwen2-yarn",  "tiny-qwen3"};

gguf_file open_tiny(const std::string& name) {
  auto file = gguf_file::open(model_folder + name + ".gguf");
  REQUIRE(file.has_value());
  return std::move(file).value();
}

model_description describe_tiny(const std::string& name) {
  const gguf_file file = open_tiny(name);
  auto model = model_description::from_gguf(file);
  INFO(name << (model ? "" : ": " + model.failure().message));
  REQUIRE(model.has_value());
  return std::move(model).value();
}

result<model_description> describe_built(const gguf_builder& builder) {
  const byte_vector bytes = builder.build();
  auto file = gguf_file::parse(bytes, "built");
  REQUIRE(file.has_value());
  return model_description::from_gguf(file.value());
}

std::string refusal_of(const gguf_builder& builder, errc expected) {
  const auto model = describe_built(builder);
  REQUIRE_FALSE(model.has_value());
  CHECK(to_string(model.failure().code) == to_string(expected));
  return model.failure().message;
}

}  // namespace

TEST_CASE("sizes and parts of each architecture") {
  const model_description llama = describe_tiny("tiny-llama");
  CHECK(llama.architecture == "llama");
  CHECK(llama.name == "tiny-llama");
  CHECK(llama.layer_count == 2);
  CHECK(llama.hidden_size == 64);
  CHECK(llama.intermediate_size == 96);
  CHECK(llama.head_count == 4);
  CHECK(llama.kv_head_count == 2);
  CHECK(llama.head_dim == 16);
  CHECK(llama.vocab_size == 320);
  CHECK(llama.context_length == 512);
  CHECK(llama.rms_epsilon == 1e-5f);
  CHECK(llama.rope.pairing == rope_pairing::interleaved);
  CHECK(llama.rope.dimension_count == 16);
  CHECK_FALSE(llama.has_qkv_bias);
  CHECK_FALSE(llama.has_qk_norm);
  CHECK(llama.has_tied_embedding);

  CHECK_FALSE(describe_tiny("tiny-llama3-rope").has_tied_embedding);

  const model_description qwen2 = describe_tiny("tiny-qwen2");
  CHECK(qwen2.architecture == "qwen2");
  CHECK(qwen2.rope.pairing == rope_pairing::halves);
  CHECK(qwen2.has_qkv_bias);
  CHECK_FALSE(qwen2.has_qk_norm);

  const model_description qwen3 = describe_tiny("tiny-qwen3");
  CHECK(qwen3.architecture == "qwen3");
  CHECK(qwen3.head_dim == 24);  // not hidden / heads
  CHECK(qwen3.rope.dimension_count == 24);
  CHECK(qwen3.rope.pairing == rope_pairing::halves);
  CHECK_FALSE(qwen3.has_qkv_bias);
  CHECK(qwen3.has_qk_norm);

  CHECK(describe_tiny("tiny-qwen2-yarn").context_length == 512);  // trained on 128, times 4
  CHECK(supported_architectures() == std::vector<std::string_view>{"llama", "qwen2", "qwen3"});
}

TEST_CASE("RoPE frequencies equal those of transformers") {
  // transformers computes them in float: a power, a division and for YaRN a mix, each within 1 ulp
  // or so.
  constexpr double tolerance = 8 * 5.96e-8;
  for (const std::string& name : tiny_models) {
    INFO(name);
    std::ifstream stream(model_folder + name + ".json");
    const auto expected = nlohmann::json::parse(stream)["rope"];
    const model_description model = describe_tiny(name);
    const auto frequencies = expected["frequencies"].get<std::vector<double>>();
    REQUIRE(model.rope.frequencies.size() == frequencies.size());
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      INFO("pair " << i);
      CHECK(std::abs(model.rope.frequencies[i] / frequencies[i] - 1.0) <= tolerance);
    }
    CHECK(model.rope.attention_factor ==
          Approx(expected["attention_factor"].get<double>()).epsilon(1e-6));
  }
}

TEST_CASE("every needed tensor is missed, and its shape and type are checked") {
  for (const std::string& name : tiny_models) {
    const gguf_builder whole(open_tiny(name));
    REQUIRE(describe_built(whole).has_value());
    for (const auto& tensor : whole.tensors) {
      if (tensor.name == "rope_freqs.weight" || tensor.name == "output.weight")
        continue;  // optional
      INFO(name << " " << tensor.name);
      gguf_builder without = whole;
      without.remove_tensor(tensor.name);
      CHECK_THAT(refusal_of(without, errc::corrupt),
                 Contains("tensor " + tensor.name + " is missing"));

      gguf_builder larger = whole;  // one more row, or one more element
      auto& grown = larger.find(tensor.name);
      grown.dimensions.back() += 1;
      grown.data.resize(grown.data.size() +
                        (grown.dimensions.size() > 1 ? grown.dimensions[0] : 1) * 4);
      CHECK_THAT(refusal_of(larger, errc::corrupt), Contains(tensor.name));

      gguf_builder reshaped = whole;  // the same elements in three dimensions
      auto& folded = reshaped.find(tensor.name);
      const std::uint64_t last = folded.dimensions.back();
      folded.dimensions.back() = last / 2;
      folded.dimensions.push_back(2);
      CHECK_THAT(refusal_of(reshaped, errc::corrupt), Contains(tensor.name));

      gguf_builder halved = whole;
      auto& half = halved.find(tensor.name);
      half.type = static_cast<std::uint32_t>(dtype::f16);
      half.data.resize(half.data.size() / 2);
      if (half.dimensions.size() == 1) {
        CHECK_THAT(refusal_of(halved, errc::unsupported),
                   Contains(tensor.name + " has the type F16"));
      } else {
        CHECK(describe_built(halved).has_value());
      }
    }
  }
}

TEST_CASE("trailing dimensions of 1 change no shape") {
  gguf_builder builder(open_tiny("tiny-llama"));
  for (auto& tensor : builder.tensors) tensor.dimensions.push_back(1);
  CHECK(describe_built(builder).has_value());
}

TEST_CASE("a tensor that nothing would read is refused") {
  for (const std::string extra : {"blk.0.attn_output.bias", "blk.0.ffn_gate_exps.weight",
                                  "blk.2.attn_q.weight", "rope_factors_long.weight"}) {
    gguf_builder builder(open_tiny("tiny-llama"));
    builder.add_float_tensor(extra, {64});
    CHECK_THAT(refusal_of(builder, errc::unsupported), Contains(extra));
  }
  gguf_builder llama(open_tiny("tiny-llama"));
  llama.add_float_tensor("blk.0.attn_q_norm.weight", {16});
  CHECK_THAT(refusal_of(llama, errc::unsupported), Contains("attn_q_norm"));

  gguf_builder old(open_tiny("tiny-llama"));
  old.add_float_tensor("blk.0.attn_rot_embd.weight", {8});
  CHECK(describe_built(old).has_value());
}

TEST_CASE("optional QKV biases are all or none") {
  gguf_builder builder(open_tiny("tiny-llama"));
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    builder.add_float_tensor(layer + "attn_q.bias", {64});
    builder.add_float_tensor(layer + "attn_k.bias", {32});
    builder.add_float_tensor(layer + "attn_v.bias", {32});
  }
  REQUIRE(describe_built(builder).has_value());
  CHECK(describe_built(builder)->has_qkv_bias);
  builder.remove_tensor("blk.1.attn_v.bias");
  CHECK_THAT(refusal_of(builder, errc::corrupt), Contains("blk.1.attn_v.bias is missing"));
  builder.remove_tensor("blk.0.attn_q.bias");  // now the first layer says there are none
  CHECK_THAT(refusal_of(builder, errc::unsupported), Contains("attn_k.bias"));
}

TEST_CASE("needed keys are missed") {
  for (const std::string name : {"tiny-llama", "tiny-qwen2", "tiny-qwen3"}) {
    const gguf_file file = open_tiny(name);
    const std::string architecture = file.get_string("general.architecture").value();
    for (const std::string suffix :
         {"block_count", "context_length", "embedding_length", "feed_forward_length",
          "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
      gguf_builder builder(file);
      builder.remove(architecture + "." + suffix);
      CHECK_THAT(refusal_of(builder, errc::not_found), Contains(architecture + "." + suffix));
    }
    gguf_builder builder(file);
    builder.remove("general.architecture");
    CHECK_THAT(refusal_of(builder, errc::not_found), Contains("general.architecture"));
  }
}

TEST_CASE("numbers out of range are refused") {
  const gguf_builder whole(open_tiny("tiny-llama"));
  const auto refused_integer = [&](const std::string& suffix, std::uint64_t value) {
    gguf_builder builder = whole;
    builder.set("llama." + suffix, value);
    INFO(suffix << " = " << value);
    CHECK_FALSE(refusal_of(builder, errc::corrupt).empty());
  };
  for (const std::string suffix :
       {"block_count", "embedding_length", "feed_forward_length", "attention.head_count",
        "attention.head_count_kv", "attention.key_length", "context_length", "rope.dimension_count",
        "vocab_size"}) {
    refused_integer(suffix, 0);
    refused_integer(suffix, std::uint64_t{1} << 40);
    refused_integer(suffix, std::numeric_limits<std::uint64_t>::max());
  }
  refused_integer("attention.head_count", 5);     // does not divide the hidden size
  refused_integer("attention.head_count_kv", 3);  // does not divide the heads
  refused_integer("rope.dimension_count", 15);    // odd
  refused_integer("rope.dimension_count", 18);    // more than a head has
  refused_integer("vocab_size", 321);             // more than the embedding has
  refused_integer("block_count", 3);              // more than there are

  const auto refused_float = [&](const std::string& suffix, double value) {
    gguf_builder builder = whole;
    builder.set("llama." + suffix, value);
    INFO(suffix << " = " << value);
    CHECK_FALSE(refusal_of(builder, errc::corrupt).empty());
  };
  for (const std::string suffix : {"rope.freq_base", "attention.layer_norm_rms_epsilon",
                                   "rope.scaling.factor", "rope.scaling.attn_factor"}) {
    for (const double value : {-1.0, 1e13, std::nan(""), HUGE_VAL, -HUGE_VAL})
      refused_float(suffix, value);
  }
  refused_float("rope.freq_base", 0.0);

  gguf_builder tokens = whole;
  tokens.set("tokenizer.ggml.tokens", std::vector<std::string>(319));
  CHECK_THAT(refusal_of(tokens, errc::corrupt),
             Contains("says 319 tokens") && Contains("320 rows"));
}

TEST_CASE("features that this build would get wrong are refused") {
  const gguf_builder whole(open_tiny("tiny-llama"));
  const auto refused = [&](const std::string& key, const auto& value, const std::string& part) {
    gguf_builder builder = whole;
    builder.set(key, value);
    CHECK_THAT(refusal_of(builder, errc::unsupported), Contains(part));
  };
  refused("general.architecture", std::string("mamba"),
          "\"mamba\" is not supported; this build serves llama, qwen2");
  refused("llama.expert_count", std::uint64_t{8}, "llama.expert_count is 8");
  refused("llama.attention.sliding_window", std::uint64_t{4096}, "sliding_window");
  refused("llama.attention.causal", false, "only causal");
  refused("llama.attention.value_length", std::uint64_t{32}, "must be equal");
  refused("llama.rope.scaling.type", std::string("longrope"), "\"longrope\"");
  refused("llama.attention.head_count_kv", std::vector<std::uint64_t>{2, 1}, "is an array");
  refused("llama.feed_forward_length", std::vector<std::int64_t>{96, 64}, "is an array");

  gguf_builder none = whole;  // the same keys with the values that mean "none"
  none.set("llama.expert_count", std::uint64_t{0});
  none.set("llama.attention.causal", true);
  none.set("llama.rope.scaling.type", std::string("none"));
  none.set("llama.rope.scaling.factor", 8.0);
  REQUIRE(describe_built(none).has_value());
  CHECK(describe_built(none)->rope.frequencies[0] == 1.0);
}

TEST_CASE("RoPE scaling: linear without a type, under its old name, and partial rotation") {
  for (const std::string suffix : {"rope.scaling.factor", "rope.scale_linear"}) {
    gguf_builder builder(open_tiny("tiny-llama"));
    builder.set("llama." + suffix, 4.0);
    const auto model = describe_built(builder);
    REQUIRE(model.has_value());
    CHECK(model->rope.frequencies[0] == 0.25);
    builder.set("llama." + suffix, 0.0);  // "none" in old files
    CHECK(describe_built(builder)->rope.frequencies[0] == 1.0);
  }
  gguf_builder partial(open_tiny("tiny-qwen2"));
  partial.set("qwen2.rope.dimension_count", std::uint64_t{8});
  const auto model = describe_built(partial);
  REQUIRE(model.has_value());
  REQUIRE(model->rope.frequencies.size() == 4);
  CHECK(model->rope.frequencies[1] == Approx(0.1));  // 10000 ^ (-2/8)
}

TEST_CASE("llama3's divisors are checked") {
  gguf_builder builder(open_tiny("tiny-llama3-rope"));
  auto& factors = builder.find("rope_freqs.weight");
  const byte_vector good = factors.data;
  for (const float bad : {0.0f, -1.0f, 1e6f, std::nanf(""), HUGE_VALF}) {
    factors.data = good;
    std::memcpy(factors.data.data() + 12, &bad, sizeof bad);
    CHECK_THAT(refusal_of(builder, errc::corrupt), Contains("rope_freqs.weight holds"));
  }
  factors.data = good;
  factors.dimensions = {4, 2};
  CHECK_THAT(refusal_of(builder, errc::corrupt), Contains("rope_freqs.weight has the shape"));
}

TEST_CASE("YaRN's keys") {
  const gguf_builder whole(open_tiny("tiny-qwen2-yarn"));
  const auto with = [&](const std::string& suffix, double value) {
    gguf_builder builder = whole;
    builder.set("qwen2.rope.scaling." + suffix, value);
    return builder;
  };
  CHECK(describe_built(whole)->rope.attention_factor == Approx(0.1 * std::log(4.0) + 1.0));
  CHECK(describe_built(with("yarn_attn_factor", 1.25))->rope.attention_factor == 1.25f);
  CHECK(describe_built(with("attn_factor", 2.0))->rope.attention_factor ==
        Approx(2.0 * (0.1 * std::log(4.0) + 1.0)));
  // With tiny bounds on both sides every pair but the first turns too slowly to be kept.
  gguf_builder slow = with("yarn_beta_fast", 1e6);
  slow.set("qwen2.rope.scaling.yarn_beta_slow", 1e6);
  const auto slowed = describe_built(slow);
  REQUIRE(slowed.has_value());
  CHECK(slowed->rope.frequencies[1] == Approx(std::pow(10000.0, -2.0 / 16) / 4.0));
  CHECK(describe_built(with("yarn_ext_factor", 1.0)).has_value());
  CHECK_THAT(refusal_of(with("yarn_ext_factor", 0.5), errc::unsupported),
             Contains("yarn_ext_factor"));
  CHECK_THAT(refusal_of(with("yarn_log_multiplier", 0.1), errc::unsupported),
             Contains("yarn_log_multiplier"));
  CHECK_THAT(refusal_of(with("yarn_beta_slow", 0.0), errc::corrupt), Contains("yarn_beta_slow"));
  gguf_builder flat = whole;
  flat.set("qwen2.rope.freq_base", 1.0);
  CHECK_THAT(refusal_of(flat, errc::corrupt), Contains("above 1"));
}

TEST_CASE("mutated models never crash") {
  constexpr unsigned seed = 4711;
  constexpr int mutation_count = 5'000;
  std::mt19937 random(seed);
  for (const std::string name : {"tiny-llama3-rope", "tiny-qwen2-yarn"}) {
    const gguf_file file = open_tiny(name);
    gguf_builder builder(file);
    // Keep the mutations where they matter: no vocabulary, hence metadata and shapes are most
    // bytes.
    for (const char* key : {"tokens", "merges", "token_type"})
      builder.remove(std::string("tokenizer.ggml.") + key);
    byte_vector bytes = builder.build();
    const std::size_t header_bytes = bytes.size() - [&] {
      std::size_t size = 0;
      for (const auto& tensor : builder.tensors) size += tensor.data.size();
      return size;
    }();
    int described = 0;
    for (int i = 0; i < mutation_count; ++i) {
      const std::size_t at = random() % header_bytes;
      const std::byte before = bytes[at];
      bytes[at] = static_cast<std::byte>(random() % 256);
      CAPTURE(seed, i, at);
      if (const auto mutated = gguf_file::parse(bytes, name)) {
        described += model_description::from_gguf(mutated.value()).has_value();
        REQUIRE_FALSE(describe(mutated.value()).empty());
      }
      bytes[at] = before;
    }
    WARN(name << ": " << mutation_count << " mutations with seed " << seed << ": " << described
              << " described");
  }
}
