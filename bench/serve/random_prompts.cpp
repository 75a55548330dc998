#include "bench/serve/random_prompts.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include <fmt/format.h>

#include "config/limits.hpp"

namespace troupe::bench {
namespace {

struct length_range {
  std::uint32_t low, high;
};

length_range range_of(std::uint32_t mean, double ratio) {
  return {static_cast<std::uint32_t>(std::floor(mean * (1.0 - ratio))),
          static_cast<std::uint32_t>(std::ceil(mean * (1.0 + ratio)))};
}

class prompt_maker {
 public:
  prompt_maker(const tokenizer& tokens, std::uint64_t seed) : tokens_(tokens), random_(seed) {
    for (std::size_t i = 0; i < tokens.vocab_size(); ++i) {
      const auto id = static_cast<token_id>(i);
      if (!tokens.is_special(id) && !tokens.is_end_of_generation(id)) allowed_.push_back(id);
    }
  }

  [[nodiscard]] bool has_tokens() const { return !allowed_.empty(); }

  std::uint32_t draw_length(length_range range) {
    return std::uniform_int_distribution<std::uint32_t>(range.low, range.high)(random_);
  }

  std::vector<token_id> draw_prefix(std::uint32_t count) {
    std::vector<token_id> ids;
    for (std::uint32_t i = 0; i < count; ++i) ids.push_back(draw_token());
    return fit(std::move(ids), count).ids;
  }

  struct fitted {
    std::string text;
    std::vector<token_id> ids;
  };

  fitted draw_prompt(const std::vector<token_id>& prefix, std::uint32_t count) {
    std::vector<token_id> ids = prefix;
    const std::size_t start = draw_index();
    for (std::size_t i = 0; i < count; ++i) ids.push_back(allowed_[(start + i) % allowed_.size()]);
    return fit(std::move(ids), prefix.size() + count);
  }

 private:
  std::size_t draw_index() {
    return std::uniform_int_distribution<std::size_t>(0, allowed_.size() - 1)(random_);
  }
  token_id draw_token() { return allowed_[draw_index()]; }

  /// Text is not made of its tokens one by one: two tokens may encode as one or as three. The
  /// result has `count` ids unless the tries run out.
  fitted fit(std::vector<token_id> ids, std::size_t count) {
    fitted out;
    for (int tries = 0; tries < limits::bench_prompt_tries_max; ++tries) {
      out.text = tokens_.decode(ids, false);
      out.ids = tokens_.encode(out.text, {.parse_special = false, .add_special = false});
      if (out.ids.size() == count) break;
      ids = out.ids;
      ids.resize(std::min(ids.size(), count));
      while (ids.size() < count) ids.push_back(draw_token());
    }
    return out;
  }

  const tokenizer& tokens_;
  std::mt19937_64 random_;
  std::vector<token_id> allowed_;
};

}  // namespace

result<std::vector<work_item>> make_random_prompts(const tokenizer& tokens,
                                                   const random_options& options) {
  if (!(options.range_ratio >= 0.0 && options.range_ratio < 1.0))
    return error{errc::invalid_argument,
                 fmt::format("the range ratio is {}, not in [0, 1)", options.range_ratio)};
  prompt_maker maker(tokens, options.seed);
  if (!maker.has_tokens())
    return error{errc::invalid_argument, "the vocabulary has special tokens only"};
  const auto special = static_cast<std::uint32_t>(tokens.encode("", {.add_special = true}).size());
  const std::uint32_t input_tokens = options.input_tokens - std::min(special, options.input_tokens);
  const length_range input = range_of(input_tokens, options.range_ratio);
  length_range output = range_of(options.output_tokens, options.range_ratio);
  output.low = std::max(output.low, 1u);
  output.high = std::max(output.high, 1u);
  if (options.prefix_tokens + input.low < 1)
    return error{errc::invalid_argument,
                 fmt::format("prompts of {} tokens, {} of them special, leave no text",
                             options.input_tokens, special)};
  const auto prefix = maker.draw_prefix(options.prefix_tokens);
  std::vector<work_item> out;
  for (std::size_t i = 0; i < options.request_count; ++i) {
    auto made = maker.draw_prompt(prefix, maker.draw_length(input));
    const std::vector<token_id> sent = tokens.encode(made.text, {.add_special = true});
    work_item item;
    item.prompt = std::move(made.text);
    for (const token_id id : sent) item.prompt_token_ids.push_back(static_cast<std::int64_t>(id));
    item.prompt_tokens = static_cast<std::uint32_t>(sent.size());
    item.output_tokens = maker.draw_length(output);
    out.push_back(std::move(item));
  }
  return out;
}

}  // namespace troupe::bench
