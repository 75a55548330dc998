// Batch invariance of the whole forward pass: a sequence's logits are the same bits alone, among 36
// others, in chunks of any size, after a shared prefix, with any number of threads, in any physical
// blocks; and they never depend on what an unwritten position holds. On the tiny models, and on a
// real one where TROUPE_TEST_MODEL names it, with a cache of floats and with one of bytes.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <random>

#include <catch2/catch.hpp>

#include "gguf_builder.hpp"
#include "kernels/base/half.hpp"
#include "loaded_model.hpp"
#include "tests/skip.hpp"

using namespace troupe;
using wanted = forward_slice::logits;

namespace {

constexpr std::size_t block_tokens = 16;

/// Hands out blocks of a poisoned cache in random order.
class block_source {
 public:
  block_source(std::size_t count, unsigned seed) : order_(count) {
    std::iota(order_.begin(), order_.end(), 0);
    std::shuffle(order_.begin(), order_.end(), std::mt19937(seed));
  }
  std::vector<block_index> take(std::size_t token_count) {
    std::vector<block_index> out;
    for (std::size_t i = 0; i < (token_count + block_tokens - 1) / block_tokens; ++i) {
      out.push_back(static_cast<block_index>(order_.at(next_++)));
    }
    return out;
  }

 private:
  std::vector<int> order_;
  std::size_t next_ = 0;
};

using rows = std::vector<float>;

/// All logits of one sequence, alone, in chunks.
rows run_alone(const test::loaded_model& model, kernels::kv_dtype type,
               const std::vector<token_id>& tokens, std::size_t chunk, std::size_t threads,
               unsigned seed) {
  thread_pool pool({.thread_count = threads});
  kv_cache cache = model.make_cache(tokens.size() / block_tokens + 5, type);
  test::poison(cache);
  const auto table = block_source(cache.block_count(), seed).take(tokens.size());
  forward_pass pass(model.description, model.weights, cache, pool, model.set, tokens.size());
  rows out;
  for (std::size_t at = 0; at < tokens.size(); at += chunk) {
    const std::size_t count = std::min(chunk, tokens.size() - at);
    const forward_slice slice{std::span(tokens).subspan(at, count), at, table, wanted::all};
    const auto logits = pass.run({&slice, 1});
    out.insert(out.end(), logits.begin(), logits.end());
  }
  return out;
}

bool same(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// 37 sequences, each at its own place: some prefill in chunks, some decode, in every step.
void check_batch(const test::loaded_model& model, kernels::kv_dtype type,
                 const std::vector<token_id>& tokens, const rows& expected,
                 std::size_t probe_chunk) {
  const std::size_t vocab = model.description.vocab_size;
  thread_pool pool({.thread_count = 2});
  kv_cache cache = model.make_cache(37 * (tokens.size() / block_tokens + 2), type);
  test::poison(cache);
  block_source blocks(cache.block_count(), 7);
  struct member {
    std::vector<token_id> tokens;
    std::vector<block_index> table;
    std::size_t chunk = 1;
    std::size_t done = 0;
  };
  std::vector<member> members;
  for (unsigned i = 0; i < 37; ++i) {
    member added;
    added.tokens = i == 20 ? tokens : test::random_tokens(1 + i * tokens.size() / 37, vocab, i);
    added.chunk = i == 20 ? probe_chunk : 1 + i % 9;
    added.table = blocks.take(added.tokens.size());
    members.push_back(std::move(added));
  }
  forward_pass pass(model.description, model.weights, cache, pool, model.set,
                    37 * 9 + tokens.size());
  rows actual;
  while (members[20].done < tokens.size()) {
    std::vector<forward_slice> step;
    std::size_t rows_before = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      member& m = members[i];
      const std::size_t count = std::min(m.chunk, m.tokens.size() - m.done);
      if (count == 0) continue;
      const wanted want = i == 20 ? wanted::all : static_cast<wanted>(i % 3);
      step.push_back({std::span(m.tokens).subspan(m.done, count), m.done, m.table, want});
      m.done += count;
      if (i < 20) rows_before += want == wanted::none ? 0 : want == wanted::last ? 1 : count;
    }
    const std::size_t before = actual.size() / vocab;
    const auto logits = pass.run(step);
    const auto own = logits.subspan(rows_before * vocab, (members[20].done - before) * vocab);
    actual.insert(actual.end(), own.begin(), own.end());
  }
  CAPTURE(probe_chunk);
  CHECK(same(expected, actual));
}

/// A second sequence which starts in the blocks of the first.
void check_prefix(const test::loaded_model& model, kernels::kv_dtype type,
                  const std::vector<token_id>& tokens, const rows& expected) {
  const std::size_t vocab = model.description.vocab_size;
  const std::size_t shared = tokens.size() / 2 / block_tokens * block_tokens;
  thread_pool pool({.thread_count = 2});
  kv_cache cache = model.make_cache(2 * (tokens.size() / block_tokens + 2), type);
  test::poison(cache);
  block_source blocks(cache.block_count(), 8);
  // The first owner goes another way after the prefix, and shares a block that is only half of it.
  std::vector<token_id> first = tokens;
  for (std::size_t i = shared + 3; i < first.size(); ++i)
    first[i] = static_cast<token_id>(i % vocab);
  const auto first_table = blocks.take(first.size());
  forward_pass pass(model.description, model.weights, cache, pool, model.set, tokens.size());
  const forward_slice first_slice{first, 0, first_table, wanted::none};
  CHECK(pass.run({&first_slice, 1}).empty());
  const auto own = blocks.take(tokens.size() - shared);
  std::vector<block_index> table(first_table.begin(), first_table.begin() + shared / block_tokens);
  table.insert(table.end(), own.begin(), own.end());
  cache.copy_block(first_table[shared / block_tokens], own[0]);  // its first 3 positions are valid
  const forward_slice slice{std::span(tokens).subspan(shared + 3), shared + 3, table, wanted::all};
  const auto logits = pass.run({&slice, 1});
  CHECK(same(std::span(expected).subspan((shared + 3) * vocab), logits));
}

void check_invariance(const test::loaded_model& model, kernels::kv_dtype type,
                      std::size_t token_count) {
  const auto tokens = test::random_tokens(token_count, model.description.vocab_size, 99);
  const rows expected = run_alone(model, type, tokens, token_count, 1, 1);
  REQUIRE(std::none_of(expected.begin(), expected.end(), [](float x) { return std::isnan(x); }));
  for (std::size_t chunk : {std::size_t{1}, std::size_t{7}, std::size_t{64}, token_count}) {
    CAPTURE(chunk);
    CHECK(same(expected, run_alone(model, type, tokens, chunk, 1 + chunk % 3, 2 + chunk)));
  }
  for (std::size_t threads : {1, 2, 3}) {
    CAPTURE(threads);
    CHECK(same(expected, run_alone(model, type, tokens, token_count, threads, 3)));
  }
  check_batch(model, type, tokens, expected, 1);
  check_batch(model, type, tokens, expected, 50);
  check_prefix(model, type, tokens, expected);
}

/// A llama of two layers whose matrices are Q8_0 of random bytes, but for one: what activations
/// are quantized for, or rounded.
test::byte_vector quantized_llama(std::size_t head_dim) {
  constexpr std::uint64_t hidden = 96, intermediate = 160, vocab = 70;
  const std::uint64_t query_width = 4 * head_dim, key_width = 2 * head_dim;
  test::gguf_builder builder;
  builder.set("general.architecture", std::string("llama"));
  const std::pair<const char*, std::uint64_t> sizes[] = {{"block_count", 2},
                                                         {"embedding_length", hidden},
                                                         {"context_length", 512},
                                                         {"feed_forward_length", intermediate},
                                                         {"attention.head_count", 4},
                                                         {"attention.head_count_kv", 2},
                                                         {"vocab_size", vocab},
                                                         {"attention.key_length", head_dim},
                                                         {"attention.value_length", head_dim},
                                                         {"rope.dimension_count", head_dim}};
  for (const auto& [key, value] : sizes) builder.set(std::string("llama.") + key, value);
  builder.set("llama.attention.layer_norm_rms_epsilon", 1e-5);
  std::mt19937 random(23);
  const auto add_matrix = [&](const std::string& name, std::uint64_t columns, std::uint64_t rows,
                              bool is_float) {
    test::byte_vector data;
    for (std::uint64_t i = 0; i < columns * rows; ++i) {
      if (!is_float && i % 32 == 0) test::append(data, float_to_half(0.002f));
      const auto value = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
      if (is_float) {
        test::append(data, 0.002f * static_cast<float>(value));
      } else {
        test::append(data, value);
      }
    }
    builder.tensors.push_back({name,
                               {columns, rows},
                               static_cast<std::uint32_t>(is_float ? dtype::f32 : dtype::q8_0),
                               data});
  };
  const auto add_norm = [&](const std::string& name) {
    test::byte_vector ones;
    for (std::uint64_t i = 0; i < hidden; ++i) test::append(ones, 1.0f);
    builder.tensors.push_back({name, {hidden}, 0, ones});
  };
  add_matrix("token_embd.weight", hidden, vocab, false);
  add_norm("output_norm.weight");
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    add_norm(layer + "attn_norm.weight");
    add_norm(layer + "ffn_norm.weight");
    add_matrix(layer + "attn_q.weight", hidden, query_width, false);
    add_matrix(layer + "attn_k.weight", hidden, key_width, false);
    add_matrix(layer + "attn_v.weight", hidden, key_width, false);
    add_matrix(layer + "attn_output.weight", query_width, hidden, layer == "blk.1.");
    add_matrix(layer + "ffn_gate.weight", hidden, intermediate, false);
    add_matrix(layer + "ffn_up.weight", hidden, intermediate, false);
    add_matrix(layer + "ffn_down.weight", intermediate, hidden, false);
  }
  return builder.build();
}

}  // namespace

TEST_CASE("the forward pass is batch invariant on quantized models", "[forward]") {
  // Heads of whole groups of columns, and heads that are not.
  for (const std::size_t head_dim : {32, 24}) {
    const test::byte_vector built = quantized_llama(head_dim);
    aligned_buffer<std::byte> bytes(built.size());
    std::ranges::copy(built, bytes.data());
    const auto open = [&](isa set) {
      return test::loaded_model::of(gguf_file::parse(bytes.span(), "quantized").value(), set);
    };
    for (const isa set : {isa::avx2, isa::avx512, isa::amx}) {
      if (!is_supported(set)) continue;
      CAPTURE(head_dim, to_string(set));
      const auto model = open(set);
      check_invariance(model, kernels::kv_dtype::f16, 290);
      const auto tokens = test::random_tokens(100, model.description.vocab_size, 5);
      const rows expected =
          run_alone(open(specification_of(set)), kernels::kv_dtype::f16, tokens, 100, 1, 1);
      CHECK(same(expected, run_alone(model, kernels::kv_dtype::f16, tokens, 100, 2, 1)));
    }
  }
}

TEST_CASE("the forward pass is batch invariant on tiny models", "[forward]") {
  const auto type = GENERATE(kernels::kv_dtype::f16, kernels::kv_dtype::int8);
  for (const char* name : {"tiny-llama", "tiny-qwen2", "tiny-qwen3"}) {
    for (isa set : all_isas) {
      if (!is_supported(set)) {
        test::skip("this machine cannot run " + std::string(to_string(set)));
        continue;
      }
      CAPTURE(name, to_string(set), static_cast<int>(type));
      const auto path = std::filesystem::path(TROUPE_SOURCE_DIR) / "tests/models" / name;
      check_invariance(test::loaded_model::open(path.string() + ".gguf", set), type, 290);
    }
  }
}

TEST_CASE("all instruction sets give the logits of their specification on tiny models",
          "[forward]") {
  const auto type = GENERATE(kernels::kv_dtype::f16, kernels::kv_dtype::int8);
  for (const char* name : {"tiny-llama", "tiny-qwen2", "tiny-qwen3"}) {
    const auto path =
        std::filesystem::path(TROUPE_SOURCE_DIR) / "tests/models" / (std::string(name) + ".gguf");
    for (isa set : {isa::avx2, isa::avx512, isa::amx}) {
      if (!is_supported(set)) continue;
      CAPTURE(name, to_string(set));
      const auto reference = test::loaded_model::open(path, specification_of(set));
      const auto tokens = test::random_tokens(100, reference.description.vocab_size, 5);
      const rows expected = run_alone(reference, type, tokens, 100, 2, 1);
      CHECK(
          same(expected, run_alone(test::loaded_model::open(path, set), type, tokens, 100, 2, 1)));
    }
  }
}

TEST_CASE("the forward pass is batch invariant on a real model", "[forward][real]") {
  const auto path = test::required_file("TROUPE_TEST_MODEL");
  if (!path) return;
  const auto type = GENERATE(kernels::kv_dtype::f16, kernels::kv_dtype::int8);
  if (is_supported(isa::amx))
    check_invariance(test::loaded_model::open(*path, isa::amx), type, 300);
  const auto model = test::loaded_model::open(*path, fastest_isa(isa::reference));
  check_invariance(model, type, 300);
  const auto tokens = test::random_tokens(40, model.description.vocab_size, 5);
  const rows expected = run_alone(model, type, tokens, 40, 2, 1);
  for (isa set : {isa::reference, isa::avx2}) {
    if (!is_supported(set)) continue;
    CAPTURE(to_string(set));
    CHECK(same(expected, run_alone(test::loaded_model::open(*path, set), type, tokens, 40, 2, 1)));
  }
}
