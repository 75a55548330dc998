// Loading weights: progress ascends to 1 and the embedding's rows are the file's. The KV cache's
// memory: zero at first, blocks copied in every layer, impossible sizes refused with the size.
#include "runtime/model/weights.hpp"

#include <algorithm>
#include <vector>

#include <catch2/catch.hpp>

#include "loaded_model.hpp"

using namespace troupe;

TEST_CASE("weights load with ascending progress", "[weights]") {
  const auto path = std::filesystem::path(TROUPE_SOURCE_DIR) / "tests/models/tiny-qwen3.gguf";
  thread_pool pool({.thread_count = 2});
  const gguf_file file = gguf_file::open(path).value();
  const auto description = model_description::from_gguf(file).value();
  std::vector<float> heard;
  const auto weights = model_weights::load(file, description, best_isa(), pool, [&](float done) {
                         heard.push_back(done);
                       }).value();
  REQUIRE(heard.size() > 2);
  CHECK(std::is_sorted(heard.begin(), heard.end()));
  CHECK(heard.front() == 0.0f);
  CHECK(heard.back() == 1.0f);
  CHECK(weights.layer_count() == description.layer_count);
  CHECK(weights.size_bytes() > 0);
  const gguf_tensor* embedding = file.find_tensor("token_embd.weight");
  REQUIRE(embedding->type == dtype::f32);
  std::vector<float> row(description.hidden_size);
  weights.read_embedding(token_id{7}, row);
  CHECK(std::memcmp(row.data(), embedding->data.data() + 7 * row.size() * 4, row.size() * 4) == 0);
}

TEST_CASE("the KV cache begins as zeros and copies blocks in every layer", "[kv_cache]") {
  const kernels::kv_layout layout{
      .type = kernels::kv_dtype::f16, .kv_head_count = 2, .head_dim = 8, .block_tokens = 16};
  kv_cache cache = kv_cache::create(layout, 3, 5).value();
  CHECK(cache.size_bytes() == 3 * 5 * layout.block_bytes());
  const std::size_t bytes = layout.block_bytes();
  for (std::size_t layer = 0; layer < 3; ++layer) {
    std::byte* data = cache.layer(layer).data;
    CHECK(std::all_of(data, data + 5 * bytes, [](std::byte b) { return b == std::byte{0}; }));
    for (std::size_t block = 0; block < 5; ++block) {
      std::fill_n(data + block * bytes, bytes, static_cast<std::byte>(10 * layer + block));
    }
  }
  cache.copy_block(block_index{4}, block_index{1});
  const kv_cache moved = std::move(cache);
  for (std::size_t layer = 0; layer < 3; ++layer) {
    const std::byte* data = moved.layer(layer).data;
    for (std::size_t block = 0; block < 5; ++block) {
      const auto expected = static_cast<std::byte>(10 * layer + (block == 1 ? 4 : block));
      CHECK(data[block * bytes] == expected);
      CHECK(data[block * bytes + bytes - 1] == expected);
    }
  }
}

TEST_CASE("a KV cache that cannot be had is an error with its size", "[kv_cache]") {
  const kernels::kv_layout layout{
      .type = kernels::kv_dtype::f16, .kv_head_count = 8, .head_dim = 128, .block_tokens = 256};
  const auto huge = kv_cache::create(layout, 64, std::size_t{1} << 30);
  REQUIRE(!huge.has_value());
  CHECK(huge.failure().code == errc::out_of_memory);
  CHECK(huge.failure().message.find("MiB") != std::string::npos);
  CHECK(kv_cache::create(layout, 64, 0).failure().code == errc::invalid_argument);
  CHECK(kv_cache::create(layout, 64, ~std::size_t{0}).failure().code == errc::invalid_argument);
}

TEST_CASE("an int8 cache takes a byte for an element and a float for a row", "[kv_cache]") {
  const kernels::kv_layout layout{
      .type = kernels::kv_dtype::int8, .kv_head_count = 3, .head_dim = 64, .block_tokens = 32};
  CHECK(layout.block_bytes() == 2 * 3 * 32 * (64 + 4));
}

TEST_CASE("kv_layout_for refuses shapes that attention does not take", "[kv_cache]") {
  model_description description;
  description.kv_head_count = 2;
  for (std::size_t head_dim : {2, 64, 256}) {
    description.head_dim = head_dim;
    CHECK(kv_layout_for(description, kernels::kv_dtype::f16, 16).has_value());
  }
  for (std::size_t head_dim : {7, 258}) {
    description.head_dim = head_dim;
    CHECK(kv_layout_for(description, kernels::kv_dtype::f16, 16).failure().code ==
          errc::unsupported);
  }
  description.head_dim = 6;
  const auto refused = kv_layout_for(description, kernels::kv_dtype::int8, 16);
  CHECK(refused.failure().code == errc::unsupported);
  CHECK(refused.failure().message.find("multiples of 4") != std::string::npos);
  description.head_dim = 64;
  for (std::size_t block_tokens : {0, 8, 24, 512}) {
    CHECK(kv_layout_for(description, kernels::kv_dtype::f16, block_tokens).failure().code ==
          errc::invalid_argument);
  }
}
