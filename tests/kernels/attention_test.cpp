// Attention: the reference against a double-precision evaluation within the header's bound; every
// variant against the reference bit by bit; batch invariance (any split of the rows, any threads,
// any physical blocks); and that nothing behind a query's position is read, proved by NaN in every
// position that is not written yet.
#include "kernels/attention/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include <catch2/catch.hpp>

#include "canary_buffer.hpp"
#include "kernels/attention/kv_dtype_name.hpp"
#include "kernels/base/half.hpp"
#include "tests/skip.hpp"

using namespace troupe;
using namespace troupe::kernels;

namespace {

float largest_magnitude(const float* row, std::size_t count) {
  float largest = 0.0f;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(row[i]));
  return largest;
}

/// What the cache holds of element d of a row of K or V.
float rounded(kv_dtype type, const float* row, std::size_t head_dim, std::size_t d) {
  switch (type) {
    case kv_dtype::f32: return row[d];
    case kv_dtype::f16: return half_to_float(float_to_half(row[d]));
    case kv_dtype::bf16: return bfloat_to_float(float_to_bfloat(row[d]));
    case kv_dtype::int8: {
      const float largest = largest_magnitude(row, head_dim);
      return std::nearbyint(row[d] * (127.0f / largest)) * (largest / 127.0f);
    }
  }
  return row[d];
}

/// One sequence with random Q, K and V in a cache whose blocks are in random order and begin as
/// NaN.
struct sequence_case {
  kv_layout layout;
  std::size_t head_count = 0;
  std::size_t token_count = 0;
  std::vector<float> q, k, v;
  std::vector<block_index> table;
  std::size_t block_count = 0;

  sequence_case(kv_layout chosen, std::size_t heads, std::size_t tokens, unsigned seed)
      : layout(chosen), head_count(heads), token_count(tokens) {
    std::mt19937 random(seed);
    q.resize(tokens * heads * layout.head_dim);
    k.resize(tokens * layout.kv_head_count * layout.head_dim);
    v.resize(k.size());
    test::fill_normal(q.data(), q.size(), random);
    test::fill_normal(k.data(), k.size(), random, 2.0f);
    test::fill_normal(v.data(), v.size(), random);
    const std::size_t needed = (tokens + layout.block_tokens - 1) / layout.block_tokens;
    block_count = needed + 3;
    std::vector<int> order(block_count);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    for (std::size_t i = 0; i < needed; ++i) table.push_back(static_cast<block_index>(order[i]));
  }

  [[nodiscard]] std::vector<std::byte> empty_cache() const {
    std::vector<std::byte> cache(block_count * layout.block_bytes());
    if (layout.type == kv_dtype::f32) {
      const float nan = std::numeric_limits<float>::quiet_NaN();
      for (std::size_t i = 0; i < cache.size(); i += 4) std::memcpy(cache.data() + i, &nan, 4);
    } else {
      std::fill(cache.begin(), cache.end(),
                std::byte{0xFF});  // NaN in both 16-bit formats and in scales
    }
    return cache;
  }

  /// Runs the tokens in chunks of the given sizes (repeated), each written and then attended: in
  /// place of the queries, as a forward pass does it.
  std::vector<float> run(isa set, const std::vector<std::size_t>& chunks, thread_pool& pool) const {
    std::vector<std::byte> cache = empty_cache();
    const kv_layer layer{cache.data(), block_count};
    const std::size_t width = head_count * layout.head_dim;
    const std::size_t kv_width = layout.kv_head_count * layout.head_dim;
    test::canary_buffer output(token_count * width, 3);
    std::copy(q.begin(), q.end(), output.data());
    std::size_t position = 0;
    for (std::size_t i = 0; position < token_count; ++i) {
      const std::size_t count = std::min(chunks[i % chunks.size()], token_count - position);
      const attention_slice slice{0, count, position, table};
      write_kv(set, layout, layer, {&slice, 1}, k.data() + position * kv_width,
               v.data() + position * kv_width, kv_width, pool);
      const attention_arguments arguments{.query = output.data() + position * width,
                                          .query_stride = width,
                                          .output = output.data() + position * width,
                                          .output_stride = width,
                                          .head_count = head_count,
                                          .scale = scale()};
      paged_attention(set, layout, layer, {&slice, 1}, arguments, pool);
      position += count;
    }
    REQUIRE(output.canaries_intact());
    return {output.data(), output.data() + output.size()};
  }

  [[nodiscard]] float scale() const {
    return 1.0f / std::sqrt(static_cast<float>(layout.head_dim));
  }
};

const kv_dtype types[] = {kv_dtype::f32, kv_dtype::f16, kv_dtype::bf16, kv_dtype::int8};

}  // namespace

TEST_CASE("reference attention is within its bound of double precision", "[attention]") {
  thread_pool pool({.thread_count = 1});
  // Sums in the order of tiles are those of heads of whole 32s.
  const std::pair<isa, std::size_t> specifications[] = {{isa::reference, 24},
                                                        {isa::bf16_reference, 64}};
  for (const auto& [set, dim] : specifications)
    for (kv_dtype type : types) {
      CAPTURE(to_string(set), static_cast<int>(type));
      const sequence_case input(
          {.type = type, .kv_head_count = 2, .head_dim = dim, .block_tokens = 32}, 4, 531, 11);
      const std::vector<float> output = input.run(set, {531}, pool);
      const std::size_t width = 4 * dim, kv_width = 2 * dim;
      for (std::size_t position :
           {0ul, 1ul, 15ul, 16ul, 255ul, 256ul, 300ul, 511ul, 512ul, 530ul}) {
        for (std::size_t head = 0; head < 4; ++head) {
          const std::size_t kv_head = head / 2;
          std::vector<double> scores(position + 1);
          double absolute_max = 0.0, key_sum_max = 0.0, value_max = 0.0;
          const float* const query_row = input.q.data() + position * width + head * dim;
          for (std::size_t key = 0; key <= position; ++key) {
            double sum = 0.0, absolute = 0.0, key_sum = 0.0;
            const float* const key_row = input.k.data() + key * kv_width + kv_head * dim;
            const float* const value_row = input.v.data() + key * kv_width + kv_head * dim;
            for (std::size_t d = 0; d < dim; ++d) {
              const double query =
                  type == kv_dtype::bf16 ? rounded(type, query_row, dim, d) : query_row[d];
              const double element = rounded(type, key_row, dim, d);
              sum += query * element;
              absolute += std::abs(query * element);
              key_sum += std::abs(element);
              value_max = std::max(value_max, std::abs(double{rounded(type, value_row, dim, d)}));
            }
            scores[key] = sum * input.scale();
            absolute_max = std::max(absolute_max, absolute * input.scale());
            key_sum_max = std::max(key_sum_max, key_sum * input.scale());
          }
          const double maximum = *std::max_element(scores.begin(), scores.end());
          double total = 0.0;
          for (double& score : scores) total += score = std::exp(score - maximum);
          for (std::size_t d = 0; d < dim; ++d) {
            double exact = 0.0;
            for (std::size_t key = 0; key <= position; ++key) {
              exact += scores[key] / total *
                       rounded(type, input.v.data() + key * kv_width + kv_head * dim, dim, d);
            }
            const double query_step = largest_magnitude(query_row, dim) / 65534.0;
            const double weight_error = type == kv_dtype::bf16 ? 0x1p-9
                                        : type == kv_dtype::int8
                                            ? 0x1p-8 + 2 * query_step * key_sum_max
                                            : 0.0;
            const double bound =
                ((2 * (dim + 2) * absolute_max + 300 + 8 * 3 + 2 * std::log2(position + 1.0)) *
                     0x1p-24 +
                 weight_error) *
                value_max;
            CAPTURE(position, head, d);
            REQUIRE(std::abs(output[position * width + head * dim + d] - exact) <= bound);
          }
        }
      }
    }
}

TEST_CASE("attention variants give the reference's bits", "[attention]") {
  thread_pool pool({.thread_count = 2});
  struct shape {
    std::size_t heads, kv_heads, head_dim, block_tokens, tokens;
  };
  const shape shapes[] = {{9, 3, 64, 16, 530},  {4, 4, 24, 16, 70},   {7, 1, 8, 32, 280},
                          {14, 2, 64, 256, 65}, {2, 1, 128, 16, 40},  {26, 2, 10, 64, 33},
                          {3, 1, 2, 16, 18},    {1, 1, 256, 16, 20},  {5, 1, 80, 16, 50},
                          {10, 1, 96, 16, 30},  {20, 1, 192, 16, 50}, {50, 1, 64, 16, 20},
                          {2, 1, 128, 32, 300}, {1, 1, 256, 16, 280}, {3, 1, 32, 16, 70},
                          {2, 1, 160, 16, 50},  {4, 1, 224, 16, 40}};
  for (isa set : test::vector_sets()) {
    if (!is_supported(set)) {
      test::skip("this machine cannot run " + std::string(to_string(set)));
      continue;
    }
    for (const shape& s : shapes) {
      for (kv_dtype type : types) {
        if (s.head_dim % head_dim_step(type) != 0) continue;
        CAPTURE(to_string(set), s.heads, s.kv_heads, s.head_dim, static_cast<int>(type));
        const sequence_case input({.type = type,
                                   .kv_head_count = s.kv_heads,
                                   .head_dim = s.head_dim,
                                   .block_tokens = s.block_tokens},
                                  s.heads, s.tokens, 12);
        const std::vector<float> expected = input.run(specification_of(set), {s.tokens}, pool);
        REQUIRE(
            std::none_of(expected.begin(), expected.end(), [](float x) { return std::isnan(x); }));
        const std::vector<float> actual = input.run(set, {s.tokens}, pool);
        REQUIRE(test::same_bits(expected.data(), actual.data(), expected.size()));
      }
    }
  }
}

TEST_CASE(
    "attention over a cache of bytes or of pairs carries special values as its specification does",
    "[attention]") {
  thread_pool pool({.thread_count = 2});
  const float inf = std::numeric_limits<float>::infinity();
  const float special[] = {
      0.0f,   inf,           -inf,           std::numeric_limits<float>::quiet_NaN(),
      3e-38f, 3.4028235e38f, -3.4028235e38f, 1e-39f};
  constexpr std::size_t dim = 64, tokens = 560;
  const kv_dtype type = GENERATE(kv_dtype::int8, kv_dtype::bf16);
  const kv_layout layout{.type = type, .kv_head_count = 1, .head_dim = dim, .block_tokens = 16};
  for (const isa set : test::vector_sets()) {
    if (!is_supported(set)) continue;
    for (const int part : {0, 1, 2}) {  // Q, K, V
      sequence_case input(layout, 2, tokens, 16);
      std::vector<float>& rows = part == 0 ? input.q : part == 1 ? input.k : input.v;
      const std::size_t count = rows.size() / dim;
      // Late rows, so that others stay finite; a whole row, or one element of it.
      std::size_t row = count / 2 + 5;
      for (const float value : special) {
        std::fill_n(rows.begin() + static_cast<std::ptrdiff_t>(row * dim), dim, value);
        rows[(row + 3) * dim + 17] = value;
        row += 31;
      }
      if (part == 2) std::fill_n(input.v.begin(), 256 * dim, 0.0f);  // a segment without V
      const std::vector<float> expected = input.run(specification_of(set), {tokens}, pool);
      // In chunks too: of single rows, and with segments as tasks of their own.
      for (const std::vector<std::size_t>& chunks :
           std::vector<std::vector<std::size_t>>{{tokens}, {1, 7, 24}}) {
        const std::vector<float> actual = input.run(set, chunks, pool);
        CAPTURE(to_string(set), part, chunks);
        REQUIRE(std::ranges::any_of(expected, [](float x) { return std::isnan(x); }));
        std::size_t different = 0;
        for (std::size_t i = 0; i < expected.size(); ++i) {
          const bool is_same = std::isnan(expected[i])
                                   ? std::isnan(actual[i])
                                   : test::same_bits(&expected[i], &actual[i], 1);
          different += is_same ? 0 : 1;
        }
        REQUIRE(different == 0);
      }
    }
  }
}

TEST_CASE("queries that are denormal, but not when rounded to bf16, are taken as specified",
          "[attention]") {
  thread_pool pool({.thread_count = 2});
  const std::size_t dim = GENERATE(std::size_t{24}, std::size_t{64});  // without and with tiles
  constexpr std::size_t tokens = 40;
  sequence_case input(
      {.type = kv_dtype::bf16, .kv_head_count = 1, .head_dim = dim, .block_tokens = 16}, 2, tokens,
      17);
  std::fill(input.q.begin(), input.q.end(), 0x1.fffffcp-127f);
  for (float& k : input.k) k *= 2e37f;  // so that it shows in the scores
  for (const isa set : test::vector_sets()) {
    if (!is_supported(set)) continue;
    const std::vector<float> expected = input.run(specification_of(set), {tokens}, pool);
    for (const std::size_t chunk : {std::size_t{1}, tokens}) {
      const std::vector<float> actual = input.run(set, {chunk}, pool);
      CAPTURE(to_string(set), dim, chunk);
      CHECK(test::same_bits(expected.data(), actual.data(), expected.size()));
    }
  }
}

TEST_CASE("attention does not depend on chunks, threads or physical blocks", "[attention]") {
  thread_pool one({.thread_count = 1}), two({.thread_count = 2}), three({.thread_count = 3});
  for (isa set : all_isas) {
    if (!is_supported(set)) continue;
    // Tiles take heads of whole 64s of an int8 cache, and of whole 32s of a bf16 one.
    const std::pair<kv_dtype, std::size_t> cases[] = {{kv_dtype::f16, 32},
                                                      {kv_dtype::bf16, 16},
                                                      {kv_dtype::bf16, 32},
                                                      {kv_dtype::int8, 32},
                                                      {kv_dtype::int8, 64}};
    for (const auto& [type, head_dim] : cases) {
      const kv_layout layout{
          .type = type, .kv_head_count = 2, .head_dim = head_dim, .block_tokens = 16};
      const std::size_t tokens = set == specification_of(set) ? 300 : 800;
      const sequence_case input(layout, 6, tokens, 13);
      const std::vector<float> expected = input.run(set, {tokens}, one);
      CAPTURE(to_string(set));
      for (thread_pool* pool : {&one, &two, &three}) {
        for (const std::vector<std::size_t>& chunks :
             std::vector<std::vector<std::size_t>>{{1}, {7}, {64}, {1, 5, 129, 2}, {tokens}}) {
          CAPTURE(pool->thread_count(), chunks);
          const std::vector<float> actual = input.run(set, chunks, *pool);
          REQUIRE(test::same_bits(expected.data(), actual.data(), expected.size()));
        }
      }
      sequence_case moved = input;
      std::reverse(moved.table.begin(), moved.table.end());
      const std::vector<float> actual = moved.run(set, {100}, two);
      REQUIRE(test::same_bits(expected.data(), actual.data(), expected.size()));
    }
  }
}

TEST_CASE("one call over many sequences equals a call for each", "[attention]") {
  thread_pool pool({.thread_count = 2});
  const isa set = GENERATE(fastest_isa(isa::reference), isa::amx);
  if (!is_supported(set)) return test::skip("this machine has no AMX");
  const kv_dtype type = GENERATE(kv_dtype::bf16, kv_dtype::int8);
  // With 64 some of the lengths are for tiles, and some are not.
  const std::size_t head_dim = GENERATE(std::size_t{16}, std::size_t{64});
  const kv_layout layout{
      .type = type, .kv_head_count = 1, .head_dim = head_dim, .block_tokens = 16};
  const std::size_t lengths[] = {1, 17, 300, 5, 513};
  const std::size_t width = 3 * head_dim;
  std::vector<std::byte> cache;
  std::vector<std::vector<block_index>> tables;
  std::vector<attention_slice> slices;
  std::vector<float> q, k, v, expected;
  int next_block = 0;
  std::size_t row = 0;
  for (std::size_t length : lengths) {
    const sequence_case input(layout, 3, length, static_cast<unsigned>(length));
    const std::vector<float> alone = input.run(set, {length}, pool);
    expected.insert(expected.end(), alone.begin(), alone.end());
    q.insert(q.end(), input.q.begin(), input.q.end());
    k.insert(k.end(), input.k.begin(), input.k.end());
    v.insert(v.end(), input.v.begin(), input.v.end());
    tables.emplace_back();
    for (std::size_t i = 0; i < (length + 15) / 16; ++i) {
      tables.back().push_back(static_cast<block_index>(next_block++));
    }
    row += length;
  }
  row = 0;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    slices.push_back({row, lengths[i], 0, tables[i]});
    row += lengths[i];
  }
  cache.resize(next_block * layout.block_bytes(), std::byte{0xFF});
  const kv_layer layer{cache.data(), static_cast<std::size_t>(next_block)};
  write_kv(set, layout, layer, slices, k.data(), v.data(), head_dim, pool);
  std::vector<float> actual(expected.size());
  paged_attention(set, layout, layer, slices,
                  {.query = q.data(),
                   .query_stride = width,
                   .output = actual.data(),
                   .output_stride = width,
                   .head_count = 3,
                   .scale = 1.0f / std::sqrt(static_cast<float>(head_dim))},
                  pool);
  CHECK(test::same_bits(expected.data(), actual.data(), expected.size()));
}

TEST_CASE("the cache holds exactly the rounded K and V in every variant", "[attention]") {
  thread_pool pool({.thread_count = 1});
  const float inf = std::numeric_limits<float>::infinity();
  for (kv_dtype type : {kv_dtype::f32, kv_dtype::f16, kv_dtype::bf16}) {
    for (isa set : all_isas) {
      if (!is_supported(set)) continue;
      sequence_case input({.type = type, .kv_head_count = 2, .head_dim = 20, .block_tokens = 32}, 2,
                          37, 14);
      const float special[] = {65504.0f, 65519.9f, 65520.0f, -70000.0f, 1e-8f,  6e-8f,
                               -0.0f,    inf,      -inf,     1e38f,     1e-42f, 0.1f};
      std::copy(std::begin(special), std::end(special), input.k.begin() + 5);
      std::copy(std::begin(special), std::end(special), input.v.begin() + 9);
      std::vector<std::byte> cache = input.empty_cache();
      const std::vector<std::byte> before = cache;
      const attention_slice slice{0, 37, 0, input.table};
      write_kv(set, input.layout, {cache.data(), input.block_count}, {&slice, 1}, input.k.data(),
               input.v.data(), 40, pool);
      std::vector<std::byte> expected = before;
      const auto put = [&](std::size_t element, float value) {
        const std::uint16_t half =
            type == kv_dtype::f16 ? float_to_half(value) : float_to_bfloat(value);
        if (type == kv_dtype::f32)
          std::memcpy(expected.data() + element * 4, &value, 4);
        else
          std::memcpy(expected.data() + element * 2, &half, 2);
      };
      for (std::size_t p = 0; p < 37; ++p) {
        for (std::size_t h = 0; h < 2; ++h) {
          for (std::size_t d = 0; d < 20; ++d) {
            const std::size_t base = (to_index(input.table[p / 32]) * 2 + h) * 2 * 32 * 20;
            const std::size_t t = p % 32;
            const bool pairs = type == kv_dtype::bf16;
            const std::size_t tile = base + t / 16 * 16 * 20, token = t % 16;
            put(tile + (pairs ? (d / 2 * 16 + token) * 2 + d % 2 : d * 16 + token),
                input.k[p * 40 + h * 20 + d]);
            put(tile + 32 * 20 + (pairs ? (token / 2 * 20 + d) * 2 + token % 2 : token * 20 + d),
                input.v[p * 40 + h * 20 + d]);
          }
        }
      }
      CAPTURE(to_string(set), static_cast<int>(type));
      CHECK(cache == expected);
    }
  }
}

TEST_CASE("an int8 cache holds each row's bytes and its scale in every variant", "[attention]") {
  thread_pool pool({.thread_count = 1});
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  constexpr std::size_t dim = 20, tokens = 37, width = 2 * dim;
  for (isa set : all_isas) {
    if (!is_supported(set)) continue;
    sequence_case input(
        {.type = kv_dtype::int8, .kv_head_count = 2, .head_dim = dim, .block_tokens = 32}, 2,
        tokens, 15);
    // Rows 1 to 5 of K and V: infinite, no number, zero, too small to be scaled, as large as they
    // can be.
    const float special[] = {-inf, nan, 0.0f, 3e-38f, -3.4028235e38f};
    for (std::size_t row = 1; row <= std::size(special); ++row) {
      for (std::vector<float>* each : {&input.k, &input.v}) {
        if (row >= 3) std::fill_n(each->begin() + row * dim, dim, special[row - 1]);
        each->at(row * dim + 7) = special[row - 1];
      }
    }
    std::vector<std::byte> cache = input.empty_cache();
    std::vector<std::byte> expected = cache;
    const attention_slice slice{0, tokens, 0, input.table};
    write_kv(set, input.layout, {cache.data(), input.block_count}, {&slice, 1}, input.k.data(),
             input.v.data(), width, pool);
    const auto put = [&](std::byte* tile, std::size_t token, const float* row,
                         const auto& place_of) {
      const float largest = std::accumulate(row, row + dim, 0.0f, [](float so_far, float x) {
        return std::isnan(x) || std::isnan(so_far) ? std::numeric_limits<float>::quiet_NaN()
                                                   : std::max(so_far, std::abs(x));
      });
      const float scale = largest / 127.0f, inverse = 127.0f / largest;
      const bool usable = std::isfinite(inverse) && inverse > 0.0f;
      for (std::size_t d = 0; d < dim; ++d) {
        tile[place_of(d)] =
            static_cast<std::byte>(usable ? static_cast<int>(std::nearbyint(row[d] * inverse)) : 0);
      }
      std::memcpy(tile + 16 * dim + token * 4, &scale, 4);
    };
    const std::size_t tile_bytes = 16 * dim + 16 * 4, place[] = {0, 2, 1, 3};
    for (std::size_t p = 0; p < tokens; ++p) {
      for (std::size_t h = 0; h < 2; ++h) {
        std::byte* const keys = expected.data() +
                                (to_index(input.table[p / 32]) * 2 + h) * 2 * 2 * tile_bytes +
                                p % 32 / 16 * tile_bytes;
        const std::size_t token = p % 16, row = p * width + h * dim;
        put(keys, token, input.k.data() + row,
            [&](std::size_t d) { return (d / 4 * 16 + token) * 4 + place[d % 4]; });
        put(keys + 2 * tile_bytes, token, input.v.data() + row,
            [&](std::size_t d) { return (token / 4 * dim + d) * 4 + place[token % 4]; });
      }
    }
    CAPTURE(to_string(set));
    CHECK(cache == expected);
  }
}

TEST_CASE("types of KV caches have names, and auto follows what multiplies them", "[attention]") {
  for (const isa set : all_isas) {
    for (const kv_dtype type : kv_dtypes)
      CHECK(parse_kv_dtype(to_string(type), set).value() == type);
    CHECK(parse_kv_dtype("auto", set).value() ==
          (multiplies_in_bf16(set) || (set == isa::avx512 && detect_cpu_features().avx512_bf16)
               ? kv_dtype::bf16
               : kv_dtype::f16));
    CHECK(!parse_kv_dtype("int4", set).has_value());
  }
}
