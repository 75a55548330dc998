// The forward pass against Hugging Face transformers: the tiny models of tests/models with an f32
// KV cache, every instruction set, prefill as one chunk. Relative error below 1e-4 of the row's
// largest logit, same argmax.
#include <algorithm>
#include <cmath>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "loaded_model.hpp"
#include "tests/skip.hpp"

using namespace troupe;

TEST_CASE("logits agree with transformers", "[forward]") {
  const std::filesystem::path folder = std::filesystem::path(TROUPE_SOURCE_DIR) / "tests/models";
  thread_pool pool({.thread_count = 2});
  std::size_t model_count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    ++model_count;
    std::filesystem::path golden_path = entry.path();
    golden_path.replace_extension(".json");
    std::ifstream golden_file(golden_path);
    const nlohmann::json golden = nlohmann::json::parse(golden_file);
    for (isa set : all_isas) {
      if (!is_supported(set)) {
        test::skip("this machine cannot run " + std::string(to_string(set)));
        continue;
      }
      const test::loaded_model model = test::loaded_model::open(entry.path(), set);
      const std::size_t vocab = model.description.vocab_size;
      double worst = 0.0;
      for (const auto& sequence : golden["sequences"]) {
        std::vector<token_id> tokens;
        for (int id : sequence["input_ids"]) tokens.push_back(static_cast<token_id>(id));
        const std::size_t blocks = (tokens.size() + 15) / 16;
        kv_cache cache = model.make_cache(blocks, kernels::kv_dtype::f32);
        std::vector<block_index> table;
        for (std::size_t i = 0; i < blocks; ++i) table.push_back(static_cast<block_index>(i));
        forward_pass pass(model.description, model.weights, cache, pool, set, tokens.size());
        const forward_slice slice{tokens, 0, table, forward_slice::logits::all};
        const std::span<const float> logits = pass.run({&slice, 1});
        REQUIRE(logits.size() == tokens.size() * vocab);
        for (std::size_t p = 0; p < tokens.size(); ++p) {
          const auto row = logits.subspan(p * vocab, vocab);
          const auto top = std::max_element(row.begin(), row.end()) - row.begin();
          CAPTURE(entry.path().filename(), to_string(set), p);
          REQUIRE(top == sequence["argmax"][p].get<long>());
        }
        for (const auto& expected : sequence["logits"]) {
          const std::size_t position = expected["position"];
          double largest = 0.0;
          for (double value : expected["values"]) largest = std::max(largest, std::abs(value));
          for (std::size_t i = 0; i < vocab; ++i) {
            const double value = expected["values"][i];
            worst = std::max(worst, std::abs(logits[position * vocab + i] - value) / largest);
          }
        }
      }
      CAPTURE(entry.path().filename(), to_string(set));
      INFO("worst relative error " << worst);
      CHECK(worst < 1e-4);
    }
  }
  CHECK(model_count >= 3);
}
