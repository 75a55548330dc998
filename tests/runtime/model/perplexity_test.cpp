// Perplexity of the default model over tests/data/perplexity.txt, tokenizer included, within 0.5 %
// of what llama-perplexity reports (smollm2-perplexity.json), over all chunks and, with an f16 KV
// cache, after each of them once 24 are in; with others it wanders further on the way.
// Needs the file that TROUPE_TEST_MODEL names.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <numeric>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "kernels/attention/kv_dtype_name.hpp"
#include "loaded_model.hpp"
#include "runtime/text/tokenizer.hpp"
#include "tests/skip.hpp"

using namespace troupe;

namespace {

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// -log of the probability that a row of logits gives to a token.
double surprise(std::span<const float> row, token_id token) {
  const double largest = *std::max_element(row.begin(), row.end());
  const double sum = std::accumulate(
      row.begin(), row.end(), 0.0,
      [largest](double total, float logit) { return total + std::exp(logit - largest); });
  return largest + std::log(sum) - row[to_index(token)];
}

}  // namespace

TEST_CASE("perplexity is llama-perplexity's", "[forward][real]") {
  const auto path = test::required_file("TROUPE_TEST_MODEL");
  if (!path) return;
  const std::filesystem::path folder = std::filesystem::path(TROUPE_SOURCE_DIR) / "tests";
  const auto golden = nlohmann::json::parse(read_text(folder / "models/smollm2-perplexity.json"));
  const auto chunk_tokens = golden["n_ctx"].get<std::size_t>();
  const auto chunk_count = golden["chunk_count"].get<std::size_t>();
  const isa set = GENERATE(fastest_isa(isa::reference), isa::amx);
  if (!is_supported(set)) return test::skip("this machine has no AMX");
  const auto model = test::loaded_model::open(*path, set);
  const auto words = tokenizer::from_gguf(model.file).value();
  REQUIRE_FALSE(words->adds_bos());  // else a chunk's first token would have to become BOS
  const auto tokens = words->encode(read_text(folder / "data/perplexity.txt"), {});
  REQUIRE(tokens.size() / chunk_tokens == chunk_count);

  thread_pool pool({.thread_count = 2});
  const auto type =
      GENERATE(kernels::kv_dtype::f16, kernels::kv_dtype::bf16, kernels::kv_dtype::int8);
  kv_cache cache = model.make_cache(chunk_tokens / 16, type);
  std::vector<block_index> table;
  for (std::size_t i = 0; i < chunk_tokens / 16; ++i) table.push_back(static_cast<block_index>(i));
  forward_pass pass(model.description, model.weights, cache, pool, model.set, chunk_tokens);
  const std::size_t vocab = model.description.vocab_size, half = chunk_tokens / 2;
  double total = 0.0;
  std::size_t scored = 0;
  for (std::size_t chunk = 0; chunk < chunk_count; ++chunk) {
    const auto part = std::span(tokens).subspan(chunk * chunk_tokens, chunk_tokens);
    const forward_slice slices[] = {
        {part.first(half), 0, table, forward_slice::logits::none},
        {part.subspan(half, half - 1), half, table, forward_slice::logits::all}};
    pass.run({slices, 1});
    const auto logits = pass.run({slices + 1, 1});
    for (std::size_t i = 0; i + 1 < half; ++i) {
      total += surprise(logits.subspan(i * vocab, vocab), part[half + i + 1]);
    }
    scored += half - 1;
    const double own = std::exp(total / scored), expected = golden["after_each_chunk"][chunk];
    CAPTURE(chunk, own, expected);
    if (chunk >= 23 && type == kernels::kv_dtype::f16)
      CHECK(std::abs(own / expected - 1.0) < 0.005);
  }
  const double own = std::exp(total / scored), expected = golden["perplexity"];
  WARN("perplexity " << own << " on " << to_string(set) << " with a cache of "
                     << kernels::to_string(type) << ", llama-perplexity's " << expected << " ("
                     << 100.0 * (own / expected - 1.0) << " %)");
  CHECK(std::abs(own / expected - 1.0) < 0.005);
}
