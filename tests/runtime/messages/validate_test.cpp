// Every rule of validate.hpp as one row of a table: what is changed in a good request, and what the
// error says (empty: it is accepted). Bounds are tested on both sides.
#include "runtime/messages/validate.hpp"

#include <functional>
#include <limits>

#include <catch2/catch.hpp>

#include "config/limits.hpp"

using namespace troupe;
using Catch::Contains;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
const request_bounds bounds{.max_model_len = 2048, .vocab_size = 1000, .served_model_name = "smol"};

struct rule {
  const char* error;  // empty: accepted
  std::function<void(submit&)> change;
};

std::map<std::string, double> biases(std::size_t count) {
  std::map<std::string, double> out;
  for (std::size_t i = 0; i < count; ++i) out[std::to_string(i)] = 1.0;
  return out;
}

const rule rules[] = {
    {"", [](submit&) {}},
    {"", [](submit& r) { r.model = "smol"; }},
    {"The model `gpt` does not exist; this server has `smol`.", [](submit& r) { r.model = "gpt"; }},

    {"exactly one of prompt", [](submit& r) { r.prompt.reset(); }},
    {"exactly one of prompt", [](submit& r) { r.prompt_token_ids = {{1}}; }},
    {"exactly one of prompt", [](submit& r) { r.messages_json = "[]"; }},
    {"", [](submit& r) { r.prompt = std::string(limits::prompt_bytes_max, 'a'); }},
    {"bytes; at most",
     [](submit& r) { r.prompt = std::string(limits::prompt_bytes_max + 1, 'a'); }},
    {"",
     [](submit& r) {
       r.prompt.reset(), r.prompt_token_ids = {{0, 999}};
     }},
    {"Token id 1000 is out of vocabulary",
     [](submit& r) { r.prompt.reset(), r.prompt_token_ids = {{1000}}; }},
    {"Token id -1 is out of vocabulary",
     [](submit& r) { r.prompt.reset(), r.prompt_token_ids = {{-1}}; }},
    {"", [](submit& r) { r.prompt.reset(), r.messages_json = "[]", r.tools_json = "[]"; }},
    {"tools are only accepted", [](submit& r) { r.tools_json = "[]"; }},
    {"chat_template_kwargs are only", [](submit& r) { r.chat_template_kwargs_json = "{}"; }},
    {"", [](submit& r) { r.echo = true; }},
    {"echo is only accepted",
     [](submit& r) { r.prompt.reset(), r.messages_json = "[]", r.echo = true; }},

    {"", [](submit& r) { r.n = 16; }},
    {"n must be in [1, 16], got 0.", [](submit& r) { r.n = 0; }},
    {"n must be in [1, 16], got 17.", [](submit& r) { r.n = 17; }},
    {"n must be 1 when using greedy sampling, got 2.",
     [](submit& r) { r.n = 2, r.temperature = 0.0; }},

    {"", [](submit& r) { r.temperature = 0.0; }},
    {"", [](submit& r) { r.temperature = limits::temperature_max; }},
    {"temperature must be non-negative, got -0.1.", [](submit& r) { r.temperature = -0.1; }},
    {"temperature must be at most 100", [](submit& r) { r.temperature = 100.1; }},
    {"temperature must be at most 100", [](submit& r) { r.temperature = infinity; }},
    {"temperature must be non-negative, got nan.", [](submit& r) { r.temperature = nan_value; }},

    {"", [](submit& r) { r.top_p = 1e-9; }},
    {"top_p must be in (0, 1], got 0.", [](submit& r) { r.top_p = 0.0; }},
    {"top_p must be in (0, 1], got 1.1.", [](submit& r) { r.top_p = 1.1; }},
    {"top_p must be in (0, 1], got nan.", [](submit& r) { r.top_p = nan_value; }},

    {"", [](submit& r) { r.top_k = -1; }},
    {"", [](submit& r) { r.top_k = 5000; }},
    {"top_k must be 0 or -1 (disable), or at least 1, got -2.", [](submit& r) { r.top_k = -2; }},
    {"top_k must be", [](submit& r) { r.top_k = 1ll << 31; }},

    {"", [](submit& r) { r.min_p = 1.0; }},
    {"min_p must be in [0, 1], got -0.5.", [](submit& r) { r.min_p = -0.5; }},
    {"min_p must be in [0, 1], got 1.5.", [](submit& r) { r.min_p = 1.5; }},
    {"min_p must be in [0, 1], got nan.", [](submit& r) { r.min_p = nan_value; }},

    {"", [](submit& r) { r.repetition_penalty = 0.01; }},
    {"", [](submit& r) { r.repetition_penalty = 100.0; }},
    {"repetition_penalty must be in", [](submit& r) { r.repetition_penalty = 0.0; }},
    {"repetition_penalty must be in", [](submit& r) { r.repetition_penalty = 101.0; }},
    {"repetition_penalty must be in", [](submit& r) { r.repetition_penalty = nan_value; }},
    {"", [](submit& r) { r.presence_penalty = -2.0, r.frequency_penalty = 2.0; }},
    {"presence_penalty must be in [-2, 2], got 2.5.", [](submit& r) { r.presence_penalty = 2.5; }},
    {"presence_penalty must be in", [](submit& r) { r.presence_penalty = nan_value; }},
    {"frequency_penalty must be in [-2, 2], got -2.5.",
     [](submit& r) { r.frequency_penalty = -2.5; }},
    {"frequency_penalty must be in", [](submit& r) { r.frequency_penalty = infinity; }},

    {"", [](submit& r) { r.priority = -limits::priority_abs_max; }},
    {"priority must be in [-1000000, 1000000]", [](submit& r) { r.priority = 1'000'001; }},
    {"priority must be in", [](submit& r) { r.priority = INT64_MIN; }},
    {"", [](submit& r) { r.due_ms = 1; }},
    {"due_ms must be in [1, 604800000], got 0.", [](submit& r) { r.due_ms = 0; }},
    {"due_ms must be in", [](submit& r) { r.due_ms = 604'800'001; }},

    {"", [](submit& r) { r.logprobs = 20, r.prompt_logprobs = 0; }},
    {"logprobs must be non-negative, got -1.", [](submit& r) { r.logprobs = -1; }},
    {"Requested logprobs of 21, which is greater than max allowed: 20.",
     [](submit& r) { r.logprobs = 21; }},
    {"prompt_logprobs must be non-negative", [](submit& r) { r.prompt_logprobs = -1; }},
    {"Requested prompt_logprobs of 21", [](submit& r) { r.prompt_logprobs = 21; }},

    {"", [](submit& r) { r.max_tokens = 1; }},
    {"", [](submit& r) { r.max_tokens = 2048; }},
    {"max_tokens must be at least 1, got 0.", [](submit& r) { r.max_tokens = 0; }},
    {"", [](submit& r) { r.max_tokens = 0, r.echo = true; }},
    {"max_tokens must be at least 1, got -1.", [](submit& r) { r.max_tokens = -1, r.echo = true; }},
    {"min_tokens must be less than or equal to max_tokens=0, got 1.",
     [](submit& r) { r.max_tokens = 0, r.echo = true, r.min_tokens = 1; }},
    {"max_tokens is too large: 2049.", [](submit& r) { r.max_tokens = 2049; }},
    {"max_tokens is too large", [](submit& r) { r.max_tokens = INT64_MAX; }},
    {"", [](submit& r) { r.max_tokens = 5, r.min_tokens = 5; }},
    {"min_tokens must be less than or equal to max_tokens=5, got 6.",
     [](submit& r) { r.max_tokens = 5, r.min_tokens = 6; }},
    {"min_tokens must be less than or equal to max_tokens=2048, got 2049.",
     [](submit& r) { r.min_tokens = 2049; }},
    {"min_tokens must be greater than or equal to 0, got -1.",
     [](submit& r) { r.min_tokens = -1; }},

    {"", [](submit& r) { r.stop = std::vector<std::string>(16, std::string(256, 'x')); }},
    {"stop has 17 strings", [](submit& r) { r.stop = std::vector<std::string>(17, "x"); }},
    {"stop cannot contain an empty string.",
     [](submit& r) {
       r.stop = {"a", ""};
     }},
    {"a stop string has 257 bytes", [](submit& r) { r.stop = {std::string(257, 'x')}; }},
    {"not valid UTF-8", [](submit& r) { r.stop = {"\xFF"}; }},
    {"",
     [](submit& r) {
       r.stop_token_ids = {0, 999, 999};
     }},
    {"stop_token_ids must be in [0, 1000), got 1000.",
     [](submit& r) { r.stop_token_ids = {1000}; }},
    {"stop_token_ids must be in", [](submit& r) { r.stop_token_ids = {-1}; }},
    {"stop_token_ids has 129 ids",
     [](submit& r) { r.stop_token_ids = std::vector<std::int64_t>(129, 1); }},

    {"",
     [](submit& r) {
       r.logit_bias = {{"0", -100.0}, {"999", 100.0}};
     }},
    {"", [](submit& r) { r.logit_bias = biases(1000); }},
    {"logit_bias has 1025 entries", [](submit& r) { r.logit_bias = biases(1025); }},
    {"got \"1000\"",
     [](submit& r) {
       r.logit_bias = {{"1000", 1.0}};
     }},
    {"got \"-1\"",
     [](submit& r) {
       r.logit_bias = {{"-1", 1.0}};
     }},
    {"got \"\"",
     [](submit& r) {
       r.logit_bias = {{"", 1.0}};
     }},
    {"got \"1x\"",
     [](submit& r) {
       r.logit_bias = {{"1x", 1.0}};
     }},
    {"got \"007\"",
     [](submit& r) {
       r.logit_bias = {{"007", 1.0}};
     }},
    {"got \"99999999999999999999\"",
     [](submit& r) {
       r.logit_bias = {{"99999999999999999999", 1.0}};
     }},
    {"logit_bias of token 3 must be in [-100, 100], got 101.",
     [](submit& r) {
       r.logit_bias = {{"3", 101.0}};
     }},
    {"logit_bias of token 3",
     [](submit& r) {
       r.logit_bias = {{"3", nan_value}};
     }},
};

submit good() {
  submit request;
  request.prompt = "hello";
  return request;
}

}  // namespace

TEST_CASE("every rule accepts its good values and words its bad ones") {
  for (const rule& each : rules) {
    submit request = good();
    each.change(request);
    const auto outcome = validate_submit(request, bounds, 7);
    CAPTURE(each.error, &each - rules);
    if (*each.error == '\0') {
      if (!outcome) FAIL(outcome.failure().message);
      CHECK(outcome->sampling.top_p > 0.0f);
      CHECK(outcome->sampling.repetition_penalty > 0.0f);
    } else {
      REQUIRE(!outcome.has_value());
      CHECK_THAT(outcome.failure().message, Contains(each.error));
      const bool about_model = outcome.failure().message.starts_with("The model");
      CHECK(outcome.failure().code == (about_model ? errc::not_found : errc::invalid_argument));
    }
  }
}

TEST_CASE("what is accepted arrives in the parameters") {
  submit request = good();
  request.n = 2;
  request.temperature = 0.5;
  request.top_k = 5000;
  request.top_p = 0.9;
  request.min_p = 0.1;
  request.repetition_penalty = 1.1;
  request.presence_penalty = 0.5;
  request.frequency_penalty = -0.5;
  request.seed = -5;
  request.logit_bias = {{"10", 1.0}, {"9", -1.0}};
  request.logprobs = 3;
  request.prompt_logprobs = 2;
  request.max_tokens = 99;
  request.min_tokens = 3;
  request.ignore_eos = true;
  request.stop_token_ids = {5, 3, 5};
  request.stop = {"x"};
  request.include_stop_str_in_output = true;
  request.skip_special_tokens = false;
  request.echo = true;
  const auto made = validate_submit(request, bounds, 7);
  REQUIRE(made.has_value());
  CHECK(made->n == 2);
  CHECK(made->sampling.temperature == 0.5f);
  CHECK(made->sampling.top_k == 1000);
  CHECK(made->sampling.top_p == 0.9f);
  CHECK(made->sampling.min_p == 0.1f);
  CHECK(made->sampling.repetition_penalty == 1.1f);
  CHECK(made->sampling.presence_penalty == 0.5f);
  CHECK(made->sampling.frequency_penalty == -0.5f);
  CHECK(made->sampling.seed == static_cast<std::uint64_t>(-5));
  CHECK(made->sampling.logit_bias ==
        std::vector<std::pair<token_id, float>>{{token_id{9}, -1.0f}, {token_id{10}, 1.0f}});
  CHECK(made->sampling.logprobs == 3u);
  CHECK(made->sampling.prompt_logprobs == 2u);
  CHECK(made->stopping.max_tokens == 99);
  CHECK(made->stopping.min_tokens == 3);
  CHECK(made->stopping.ignore_eos);
  CHECK(made->stopping.stop_token_ids == std::vector<token_id>{token_id{3}, token_id{5}});
  CHECK(made->stopping.stop == std::vector<std::string>{"x"});
  CHECK(made->stopping.include_stop_str_in_output);
  CHECK(!made->skip_special_tokens);
  CHECK(made->echo);
}

TEST_CASE("absent values take the server's") {
  submit request = good();
  auto made = validate_submit(request, bounds, 7);
  CHECK(made->sampling.seed == 7);
  CHECK(made->stopping.max_tokens == 2048);
  CHECK(!made->sampling.logprobs);
  request.seed = -1;
  CHECK(validate_submit(request, bounds, 8)->sampling.seed == 8);
}

TEST_CASE("the logprobs of a request are bounded over positions, sequences and prompts") {
  generation_params params;
  params.n = 2;
  params.stopping.max_tokens = 20'000;
  CHECK(check_logprob_entries(params, 10'000'000, 1).has_value());
  params.sampling.logprobs = 19;
  CHECK(check_logprob_entries(params, 10'000'000, 1).has_value());
  params.sampling.prompt_logprobs = 9;
  CHECK(check_logprob_entries(params, 10'000, 1).has_value());
  CHECK_THAT(check_logprob_entries(params, 10'001, 1).failure().message,
             Contains("up to 1000020 entries") && Contains("lower logprobs"));
  CHECK_THAT(check_logprob_entries(params, 10'000, 4).failure().message,
             Contains("250000 are accepted for each of 4 prompts"));
}

TEST_CASE("lengths are fitted to the context") {
  generation_params params = *validate_submit(good(), bounds, 1);
  CHECK_THAT(fit_to_context(params, false, 0, bounds).failure().message, Contains("empty"));
  REQUIRE(fit_to_context(params, false, 48, bounds).has_value());
  CHECK(params.stopping.max_tokens == 2000);

  params.stopping.max_tokens = 2000;
  REQUIRE(fit_to_context(params, true, 48, bounds).has_value());
  CHECK_THAT(fit_to_context(params, true, 49, bounds).failure().message,
             Contains("too large: 2000") && Contains("(2000 > 2048 - 49)"));
  params.stopping.max_tokens = 2048;
  CHECK_THAT(fit_to_context(params, false, 2048, bounds).failure().message,
             Contains("maximum context length is 2048 tokens") && Contains("2048 input tokens"));
  REQUIRE(fit_to_context(params, false, 2047, bounds).has_value());
  CHECK(params.stopping.max_tokens == 1);
  params.stopping.max_tokens = 0;
  CHECK(fit_to_context(params, true, 2048, bounds).has_value());
  CHECK_FALSE(fit_to_context(params, true, 2049, bounds).has_value());
  params.stopping.max_tokens = 2048;
  params.stopping.min_tokens = 5;
  CHECK_THAT(fit_to_context(params, false, 2047, bounds).failure().message, Contains("min_tokens"));
}
