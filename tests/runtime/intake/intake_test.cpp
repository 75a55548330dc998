// From submits to tokens on a tiny model's tokenizer: which special tokens a raw prompt and a
// rendered chat get, what is refused, and how max_tokens is fitted.
#include "runtime/intake/intake.hpp"

#include <algorithm>

#include <catch2/catch.hpp>

#include "runtime/model/gguf.hpp"

namespace troupe {
namespace {

constexpr std::chrono::sys_seconds now{};
constexpr const char* chat_source =
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

std::shared_ptr<const tokenizer> tiny_tokenizer() {
  const auto file = gguf_file::open(TROUPE_SOURCE_DIR "/tests/models/tiny-llama.gguf");
  REQUIRE(file.has_value());
  return *tokenizer::from_gguf(*file);
}

intake make_intake(std::uint32_t max_model_len = 64, bool has_chat = true) {
  const auto tokens = tiny_tokenizer();
  std::shared_ptr<const chat_template> chat;
  if (has_chat) chat = std::make_shared<chat_template>(*chat_template::parse(chat_source));
  return intake(tokens, chat, request_bounds{max_model_len, tokens->vocab_size(), "tiny"});
}

submit prompt_of(std::string text) {
  submit request;
  request.prompt = std::move(text);
  return request;
}

submit chat_of(std::string messages) {
  submit request;
  request.messages_json = std::move(messages);
  return request;
}

TEST_CASE("a raw prompt gets the special tokens that were asked for") {
  const intake prompts = make_intake();
  submit request = prompt_of("hello");
  const auto with = *prompts.tokenize(request, now);
  CHECK(with == prompts.tokens().encode("hello", {.parse_special = true, .add_special = true}));
  request.add_special_tokens = false;
  const auto without = *prompts.tokenize(request, now);
  CHECK(without == prompts.tokens().encode("hello", {.parse_special = true, .add_special = false}));
  CHECK(with.size() - without.size() ==
        std::size_t{prompts.tokens().adds_bos()} + std::size_t{prompts.tokens().adds_eos()});
}

TEST_CASE("special tokens in a raw prompt's text are those tokens") {
  const intake prompts = make_intake();
  const auto eos = prompts.tokens().eos();
  REQUIRE(eos.has_value());
  submit request = prompt_of(std::string(prompts.tokens().token_text(*eos)));
  request.add_special_tokens = false;
  const auto ids = *prompts.tokenize(request, now);
  CHECK(std::find(ids.begin(), ids.end(), *eos) != ids.end());
}

TEST_CASE("a chat is rendered, and its beginning token is there once") {
  const intake prompts = make_intake();
  const auto bos = prompts.tokens().bos();
  REQUIRE(bos.has_value());
  const submit request = chat_of(R"([{"role": "user", "content": "hi"}])");
  const auto ids = *prompts.tokenize(request, now);
  CHECK(std::count(ids.begin(), ids.end(), *bos) == 1);
  CHECK(ids.front() == *bos);
  const std::string text = prompts.tokens().decode(ids, true);
  CHECK(text.find("<user>hi<assistant>") != std::string::npos);

  submit open = request;
  open.add_generation_prompt = false;
  CHECK(prompts.tokens().decode(*prompts.tokenize(open, now), true).find("<assistant>") ==
        std::string::npos);
}

TEST_CASE("prepare validates, tokenizes and fits") {
  const intake prompts = make_intake(64);
  const submit request = prompt_of("hello");
  const auto prepared = prompts.prepare(request, 42, now);
  REQUIRE(prepared.has_value());
  CHECK(prepared->params->sampling.seed == 42);
  CHECK(prepared->params->stopping.max_tokens == 64 - prepared->tokens->size());

  submit exact = request;
  exact.max_tokens = 64 - static_cast<std::int64_t>(prepared->tokens->size());
  CHECK(prompts.prepare(exact, 42, now).has_value());
  exact.max_tokens = *exact.max_tokens + 1;
  CHECK(prompts.prepare(exact, 42, now).failure().code == errc::invalid_argument);

  submit hot = request;
  hot.temperature = -1.0;
  CHECK(prompts.prepare(hot, 42, now).failure().code == errc::invalid_argument);
  submit other = request;
  other.model = "another";
  CHECK(prompts.prepare(other, 42, now).failure().code == errc::not_found);
}

TEST_CASE("ids are checked against the vocabulary, in 64 bits") {
  const intake prompts = make_intake();
  const auto vocab_size = static_cast<std::int64_t>(prompts.bounds().vocab_size);
  for (const std::int64_t wrong : {std::int64_t{-1}, vocab_size, (std::int64_t{1} << 32) + 1}) {
    submit request;
    request.prompt_token_ids = {1, wrong};
    CHECK(prompts.tokenize(request, now).failure().code == errc::invalid_argument);
    CHECK(prompts.detokenize({wrong}).failure().code == errc::invalid_argument);
  }
  submit request;
  request.prompt_token_ids = {0, vocab_size - 1};
  CHECK(prompts.tokenize(request, now)->size() == 2);

  // A vocabulary that the tokenizer knows but the model has no rows for.
  const intake narrow(tiny_tokenizer(), nullptr, request_bounds{64, 4, "tiny"});
  CHECK(narrow.tokenize(prompt_of("hello"), now).failure().code == errc::invalid_argument);
}

TEST_CASE("detokenize undoes tokenize") {
  const intake prompts = make_intake();
  submit request = prompt_of("one two  three");
  request.add_special_tokens = false;
  std::vector<std::int64_t> ids;
  const auto tokens = *prompts.tokenize(request, now);
  for (const token_id id : tokens) ids.push_back(static_cast<std::int64_t>(id));
  CHECK(*prompts.detokenize(ids) == "one two  three");
}

TEST_CASE("what cannot become a prompt is refused with a reason") {
  const intake prompts = make_intake();
  const intake chatless = make_intake(64, false);
  const auto refusal = [](const intake& with, const submit& request) {
    const auto made = with.tokenize(request, now);
    return made ? std::string{} : made.failure().message;
  };
  CHECK(refusal(prompts, submit{}).find("exactly one") != std::string::npos);
  CHECK(refusal(prompts, chat_of("[{]")).find("messages") != std::string::npos);
  CHECK(refusal(prompts, chat_of("{}")).find("array") != std::string::npos);
  CHECK(refusal(chatless, chat_of("[]")).find("chat template") != std::string::npos);
  submit wrong_extra = chat_of("[]");
  wrong_extra.chat_template_kwargs_json = "[]";
  CHECK(refusal(prompts, wrong_extra).find("chat_template_kwargs") != std::string::npos);
  submit wrong_tools = chat_of("[]");
  wrong_tools.tools_json = "{}";
  CHECK(refusal(prompts, wrong_tools).find("tools") != std::string::npos);
}

}  // namespace
}  // namespace troupe
