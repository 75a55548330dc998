// The default model's greedy output against llama.cpp's: 56 prompts, 64 tokens each. Needs the file
// that TROUPE_TEST_MODEL names.
//
// The requirement is the same tokens, and where one differs, two logits within 0.1. Only a copy of
// llama.cpp, sum for sum, could hold to that on this model: rounding activations to int8 in 30
// layers moves a logit by 0.2 (root mean square, of some 25), and a small change anywhere (a sum's
// order, a scale rounded to f16) moves it anew. llama.cpp's own prefill and decoding differ by 0.18
// on these texts: 34 of 56 continuations would part, 13 of them with its logits more than 0.1
// apart, 5 with both evaluations' so. So smollm2-float.json holds what both programs approximate,
// the same weights evaluated in float32 by transformers, and the tests show:
//  - Where a free run first leaves llama.cpp's, the two logits are within 0.1, in llama.cpp's or in
//    our evaluation, but for no more prompts than when float32 itself runs against llama.cpp (6 and
//    9; 8 where minima become zero points), and the same by llama.cpp's logits alone (15 and 22;
//    22). At every such place float32 prefers our token, or has the two logits within three
//    deviations of llama.cpp's own error (0.49): rounding decides there, or llama.cpp's.
//  - On llama.cpp's own sequences our logits, and the gaps between the two best, are at least as
//    close to float32 as llama.cpp's (0.208 and 0.212; 0.160 and 0.163; with zero points 0.209 and
//    0.163).
//  - With the weights widened to F32 and a float cache, our logits are those of transformers: what
//    differs above is rounding and nothing else. Needs the file that TROUPE_TEST_MODEL_F32 names:
//    tests/goldens/make_float_model.py makes it.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "loaded_model.hpp"
#include "tests/skip.hpp"

using namespace troupe;

namespace {

constexpr std::size_t step_count = 64;  // of each continuation
constexpr std::size_t block_tokens = 16;
constexpr double unknown = std::numeric_limits<double>::infinity();

struct token_logit {
  token_id token;
  double logit;
};

/// What is known of one step: llama.cpp's two best tokens, and float32's logits of these and
/// others.
struct golden_step {
  token_logit first, second;
  std::vector<token_logit> exact;  // exact[0] and [1] are of first and second

  [[nodiscard]] token_logit exact_best() const {
    return *std::max_element(exact.begin(), exact.end(),
                             [](auto a, auto b) { return a.logit < b.logit; });
  }
  [[nodiscard]] double exact_logit(token_id token) const {
    for (const auto& entry : exact) {
      if (entry.token == token) return entry.logit;
    }
    return -unknown;
  }
};

struct golden_case {
  std::vector<token_id> prompt;
  std::vector<golden_step> steps;

  /// The prompt and all that llama.cpp said but its last token.
  [[nodiscard]] std::vector<token_id> sequence() const {
    std::vector<token_id> out = prompt;
    for (std::size_t i = 0; i + 1 < steps.size(); ++i) out.push_back(steps[i].first.token);
    return out;
  }
};

std::vector<golden_case> read_goldens() {
  const auto folder = std::filesystem::path(TROUPE_SOURCE_DIR) / "tests/models";
  std::ifstream greedy_file(folder / "smollm2-greedy.json"),
      exact_file(folder / "smollm2-float.json");
  const auto greedy = nlohmann::json::parse(greedy_file), exact = nlohmann::json::parse(exact_file);
  REQUIRE(greedy["model_sha256"] == exact["model_sha256"]);
  std::vector<golden_case> out;
  for (std::size_t i = 0; i < greedy["cases"].size(); ++i) {
    const auto &from = greedy["cases"][i], &truth = exact["cases"][i];
    golden_case sample;
    for (int id : from["prompt_ids"]) sample.prompt.push_back(static_cast<token_id>(id));
    for (std::size_t step = 0; step < from["output_ids"].size(); ++step) {
      const auto token = [&](const char* key) {
        return static_cast<token_id>(from[key][step].get<int>());
      };
      golden_step known{{token("output_ids"), from["logits"][step][0]},
                        {token("second_ids"), from["logits"][step][1]},
                        {}};
      for (std::size_t k = 0; k < truth["ids"][step].size(); ++k) {
        known.exact.push_back(
            {static_cast<token_id>(truth["ids"][step][k].get<int>()), truth["logits"][step][k]});
      }
      REQUIRE(known.exact[0].token == known.first.token);
      REQUIRE(known.exact[1].token == known.second.token);
      sample.steps.push_back(std::move(known));
    }
    REQUIRE(sample.steps.size() == step_count);
    out.push_back(std::move(sample));
  }
  REQUIRE(out.size() == 56);
  return out;
}

/// The first step at which a greedy run takes another token than llama.cpp's run.
struct divergence {
  std::size_t sample, step;
  double own_gap;    ///< the run's logit of its own token less that of llama.cpp's token
  double llama_gap;  ///< llama.cpp's logits the other way round; unknown if it recorded only one
  double exact_gap;  ///< float32's logits, own token less llama.cpp's
};

divergence divergence_of(const golden_step& known, std::size_t sample, std::size_t step,
                         token_id own, double own_gap) {
  const bool is_recorded = own == known.second.token;
  return {sample, step, own_gap, is_recorded ? known.first.logit - known.second.logit : unknown,
          known.exact_logit(own) - known.exact[0].logit};
}

struct tally {
  std::size_t agreeing = 0, apart = 0, apart_for_llama = 0;
  explicit tally(const std::vector<divergence>& found) : agreeing(56 - found.size()) {
    for (const divergence& each : found) {
      apart += std::min(each.own_gap, each.llama_gap) > 0.1;
      apart_for_llama += each.llama_gap > 0.1;
    }
  }
};

/// Where float32, run greedily, first leaves llama.cpp: until there both see the same tokens.
std::vector<divergence> exact_divergences(const std::vector<golden_case>& goldens) {
  std::vector<divergence> out;
  for (std::size_t i = 0; i < goldens.size(); ++i) {
    for (std::size_t step = 0; step < step_count; ++step) {
      const golden_step& known = goldens[i].steps[step];
      const token_logit best = known.exact_best();
      if (best.token == known.first.token) continue;
      out.push_back(divergence_of(known, i, step, best.token, best.logit - known.exact[0].logit));
      break;
    }
  }
  return out;
}

/// Runs all prompts greedily in one batch; a sequence leaves it where it leaves llama.cpp's.
std::vector<divergence> run_greedily(const test::loaded_model& model,
                                     const std::vector<golden_case>& goldens) {
  struct sequence {
    std::size_t sample;
    std::vector<token_id> tokens;  // the prompt and what the run said
    std::vector<block_index> table;
  };
  std::vector<sequence> running;
  std::size_t block_count = 0;
  for (std::size_t i = 0; i < goldens.size(); ++i) {
    running.push_back({i, goldens[i].prompt, {}});
    const std::size_t tokens = goldens[i].prompt.size() + step_count;
    for (std::size_t used = 0; used < tokens; used += block_tokens) {
      running.back().table.push_back(static_cast<block_index>(block_count++));
    }
  }
  thread_pool pool({.thread_count = 2});
  kv_cache cache = model.make_cache(block_count);
  forward_pass pass(model.description, model.weights, cache, pool, model.set, 4096);
  const std::size_t vocab = model.description.vocab_size;
  std::vector<divergence> out;
  for (std::size_t step = 0; step < step_count; ++step) {
    std::vector<forward_slice> slices;
    for (const sequence& each : running) {
      const std::size_t cached = step == 0 ? 0 : each.tokens.size() - 1;
      slices.push_back({std::span(each.tokens).subspan(cached), cached, each.table});
    }
    const auto logits = pass.run(slices);
    std::vector<sequence> agreeing;
    for (std::size_t i = 0; i < running.size(); ++i) {
      sequence& each = running[i];
      const auto row = logits.subspan(i * vocab, vocab);
      const auto best = std::max_element(row.begin(), row.end()) - row.begin();
      const auto own = static_cast<token_id>(best);
      const golden_step& known = goldens[each.sample].steps[step];
      each.tokens.push_back(own);
      if (own == known.first.token) {
        agreeing.push_back(std::move(each));
      } else {
        const double gap = row[best] - row[to_index(known.first.token)];
        out.push_back(divergence_of(known, each.sample, step, own, gap));
      }
    }
    running = std::move(agreeing);
  }
  return out;
}

/// Root mean squares over all steps of a program's errors against float32.
struct errors {
  double logits = 0.0, gaps = 0.0, widest = 0.0;
  std::size_t count = 0;

  void add(const golden_step& known, double first, double second) {
    const double a = first - known.exact[0].logit, b = second - known.exact[1].logit;
    logits += (a * a + b * b) / 2;
    gaps += (a - b) * (a - b);
    widest = std::max({widest, std::abs(a), std::abs(b)});
    ++count;
  }
  [[nodiscard]] double logit_deviation() const { return std::sqrt(logits / count); }
  [[nodiscard]] double gap_deviation() const { return std::sqrt(gaps / count); }
};

errors llama_errors(const std::vector<golden_case>& goldens) {
  errors out;
  for (const golden_case& sample : goldens) {
    for (const golden_step& known : sample.steps) {
      out.add(known, known.first.logit, known.second.logit);
    }
  }
  return out;
}

/// Calls body(step, row of logits) for every step of llama.cpp's sequences.
template <class Body>
void run_on_goldens(const test::loaded_model& model, const std::vector<golden_case>& goldens,
                    kernels::kv_dtype type, const Body& body) {
  const std::size_t vocab = model.description.vocab_size;
  thread_pool pool({.thread_count = 2});
  kv_cache cache = model.make_cache(64, type);
  std::vector<block_index> table;
  for (int i = 0; i < 64; ++i) table.push_back(static_cast<block_index>(i));
  forward_pass pass(model.description, model.weights, cache, pool, model.set, 1024);
  for (const golden_case& sample : goldens) {
    const auto tokens = sample.sequence();
    const std::size_t before = sample.prompt.size() - 1;
    const forward_slice slices[] = {
        {std::span(tokens).first(before), 0, table, forward_slice::logits::none},
        {std::span(tokens).subspan(before), before, table, forward_slice::logits::all}};
    pass.run({slices, 1});
    const auto logits = pass.run({slices + 1, 1});
    for (std::size_t i = 0; i < step_count; ++i) {
      body(sample.steps[i], logits.subspan(i * vocab, vocab));
    }
  }
}

std::optional<test::loaded_model> model_from(const char* variable) {
  const auto path = test::required_file(variable);
  if (!path) return std::nullopt;
  return test::loaded_model::open(*path, best_isa());
}

}  // namespace

TEST_CASE("greedy runs leave llama.cpp's only at ties", "[forward][real]") {
  const auto model = model_from("TROUPE_TEST_MODEL");
  if (!model) return;
  const auto goldens = read_goldens();
  const auto ours = run_greedily(*model, goldens), exact = exact_divergences(goldens);
  const double bound = 3.0 * llama_errors(goldens).gap_deviation();
  CHECK(bound < 0.5);
  for (const divergence& each : ours) {
    CAPTURE(each.sample, each.step, each.own_gap, each.llama_gap, each.exact_gap);
    CHECK(each.exact_gap > -bound);
    if (std::min(each.own_gap, each.llama_gap) > 0.1) {
      WARN("prompt " << each.sample << " at token " << each.step << ": the two logits are apart by "
                     << each.llama_gap << " in llama.cpp, by " << each.own_gap << " here and by "
                     << -each.exact_gap << " in float32");
    }
  }
  const tally own(ours), limit(exact);
  WARN("same 64 tokens: " << own.agreeing << " of 56 prompts (float32: " << limit.agreeing
                          << "); apart by more than 0.1: " << own.apart << " (" << limit.apart
                          << "), by llama.cpp's logits: " << own.apart_for_llama << " ("
                          << limit.apart_for_llama << ")");
  CHECK(own.apart <= limit.apart);
  CHECK(own.apart_for_llama <= limit.apart_for_llama);
}

TEST_CASE("logits are as close to float32 as llama.cpp's", "[forward][real]") {
  const auto model = model_from("TROUPE_TEST_MODEL");
  if (!model) return;
  const auto goldens = read_goldens();
  errors ours;
  std::size_t unlike_llama = 0, exact_unlike_llama = 0;
  run_on_goldens(*model, goldens, kernels::kv_dtype::f16,
                 [&](const golden_step& known, std::span<const float> row) {
                   ours.add(known, row[to_index(known.first.token)],
                            row[to_index(known.second.token)]);
                   const auto best = std::max_element(row.begin(), row.end()) - row.begin();
                   unlike_llama += static_cast<token_id>(best) != known.first.token;
                   exact_unlike_llama += known.exact_best().token != known.first.token;
                 });
  const errors theirs = llama_errors(goldens);
  CAPTURE(ours.logit_deviation(), theirs.logit_deviation(), ours.gap_deviation(),
          theirs.gap_deviation(), unlike_llama, exact_unlike_llama);
  CHECK(ours.count == 56 * step_count);
  CHECK(ours.logit_deviation() <= theirs.logit_deviation());
  CHECK(ours.gap_deviation() <= theirs.gap_deviation());
  // Two roundings are between us and llama.cpp and one is between float32 and it: sqrt(2) times as
  // many other tokens if they were independent.
  CHECK(unlike_llama <= exact_unlike_llama * 3 / 2);
}

TEST_CASE("float weights give transformers' logits", "[forward][real]") {
  const auto model = model_from("TROUPE_TEST_MODEL_F32");
  if (!model) return;
  errors ours;
  run_on_goldens(*model, read_goldens(), kernels::kv_dtype::f32,
                 [&](const golden_step& known, std::span<const float> row) {
                   ours.add(known, row[to_index(known.first.token)],
                            row[to_index(known.second.token)]);
                 });
  CHECK(ours.widest < 1e-3);
}
