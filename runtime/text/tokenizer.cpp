// An encoding: repair UTF-8, cut out the added tokens, hand what lies between to the model's BPE.
#include "runtime/text/tokenizer.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "kernels/base/check.hpp"
#include "runtime/text/added_tokens.hpp"
#include "runtime/text/byte_level_bpe.hpp"
#include "runtime/text/sentencepiece_bpe.hpp"
#include "runtime/text/utf8.hpp"
#include "runtime/text/vocabulary.hpp"

namespace troupe {
namespace {

// All pieces in one string: a piece is bytes.substr(ends[i - 1], ends[i]).
struct piece_table {
  std::string bytes;
  std::vector<std::uint64_t> ends;

  [[nodiscard]] std::string_view get(std::size_t index) const {
    const std::uint64_t begin = index == 0 ? 0 : ends[index - 1];
    return std::string_view(bytes).substr(begin, ends[index] - begin);
  }
};

bool is_added(token_kind kind) {
  return kind == token_kind::control || kind == token_kind::unknown ||
         kind == token_kind::user_defined;
}

bool is_special_kind(token_kind kind) {
  return kind == token_kind::control || kind == token_kind::unknown;
}

// Added tokens are matched in the text, so their text is their piece; all others are spelled.
piece_table spell_out(const vocabulary& words, std::string (*bytes_of)(std::string_view)) {
  piece_table pieces;
  pieces.ends.reserve(words.size());
  for (std::size_t i = 0; i < words.size(); ++i) {
    pieces.bytes += is_added(words.kinds[i]) ? words.texts[i] : bytes_of(words.texts[i]);
    pieces.ends.push_back(pieces.bytes.size());
  }
  return pieces;
}

result<added_tokens> collect_added(const vocabulary& words) {
  added_tokens added;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& text = words.texts[i];
    if (!is_added(words.kinds[i]) || text.empty()) continue;
    if (text.size() > limits::added_token_bytes_max) {
      return error{errc::unsupported,
                   fmt::format("tokenizer.ggml.tokens[{}] is a control or user-defined token of {} "
                               "bytes; at most {} are supported",
                               i, text.size(), limits::added_token_bytes_max)};
    }
    added.add(text, static_cast<token_id>(i), is_special_kind(words.kinds[i]));
  }
  return added;
}

}  // namespace

struct tokenizer::state {
  std::unique_ptr<const vocabulary> words;  // first: the models refer to it while they are built
  std::variant<byte_level_bpe, sentencepiece_bpe> model;
  added_tokens added;
  piece_table pieces;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;
};

tokenizer::tokenizer(std::unique_ptr<const state> owned) : state_(std::move(owned)) {}
tokenizer::~tokenizer() = default;

result<std::shared_ptr<const tokenizer>> tokenizer::from_gguf(const gguf_file& file) {
  auto built = std::make_unique<state>();
  TROUPE_TRY(built->words, read_vocabulary(file));
  const vocabulary& words = *built->words;

  if (words.model == "gpt2") {
    TROUPE_TRY(const auto rules, find_byte_level_rules(words.pre_tokenizer));
    TROUPE_TRY(built->model, byte_level_bpe::create(words, rules));
    built->add_bos = words.add_bos.value_or(rules.add_bos);
    built->pieces = spell_out(words, byte_level_bpe::bytes_of);
  } else if (words.model == "llama") {
    built->add_space_prefix = words.add_space_prefix.value_or(true);
    TROUPE_TRY(built->model, sentencepiece_bpe::create(words, built->add_space_prefix));
    built->add_bos = words.add_bos.value_or(true);
    built->pieces = spell_out(words, sentencepiece_bpe::bytes_of);
  } else {
    return error{errc::unsupported,
                 fmt::format("tokenizer.ggml.model is \"{}\"; supported are: gpt2, llama",
                             utf8_repair(std::string_view(words.model).substr(0, 80)))};
  }
  built->add_eos = words.add_eos.value_or(false);
  if (built->add_bos && !words.bos) {
    return error{errc::not_found,
                 "tokenizer.ggml.bos_token_id is missing, but every text begins with that token"};
  }
  if (built->add_eos && !words.eos) {
    return error{errc::not_found,
                 "tokenizer.ggml.eos_token_id is missing, but every text ends with that token"};
  }
  TROUPE_TRY(built->added, collect_added(words));
  return std::shared_ptr<const tokenizer>(new tokenizer(std::move(built)));
}

std::vector<token_id> tokenizer::encode(std::string_view text, encode_options options) const {
  TROUPE_CHECK(text.size() <= limits::tokenizer_text_bytes_max);
  std::string repaired;
  if (!utf8_is_valid(text)) {
    repaired = utf8_repair(text);
    text = repaired;
  }
  std::vector<token_id> ids;
  const auto encode_plain = [&](std::string_view section) {
    std::visit([&](const auto& model) { model.encode(section, ids); }, state_->model);
  };
  if (options.add_special && state_->add_bos) ids.push_back(*state_->words->bos);
  std::size_t begin = 0;
  while (const auto match = state_->added.find(text, begin, options.parse_special)) {
    encode_plain(text.substr(begin, match->begin - begin));
    ids.push_back(match->id);
    begin = match->end;
  }
  encode_plain(text.substr(begin));
  if (options.add_special && state_->add_eos) ids.push_back(*state_->words->eos);
  return ids;
}

std::string_view tokenizer::piece(token_id id) const noexcept {
  return to_index(id) < vocab_size() ? state_->pieces.get(to_index(id)) : std::string_view{};
}

std::string tokenizer::decode(std::span<const token_id> ids, bool skip_special) const {
  std::string bytes;
  for (const token_id id : ids) {
    if (!(skip_special && is_special(id))) bytes += piece(id);
  }
  if (state_->add_space_prefix && bytes.starts_with(' ')) bytes.erase(0, 1);
  return utf8_is_valid(bytes) ? bytes : utf8_repair(bytes);
}

bool tokenizer::is_special(token_id id) const noexcept {
  return to_index(id) < vocab_size() && is_special_kind(state_->words->kinds[to_index(id)]);
}

bool tokenizer::is_end_of_generation(token_id id) const noexcept {
  const auto& ends = end_of_generation();
  return std::binary_search(ends.begin(), ends.end(), id);
}

std::size_t tokenizer::vocab_size() const noexcept {
  return state_->words->size();
}
std::optional<token_id> tokenizer::bos() const noexcept {
  return state_->words->bos;
}
std::optional<token_id> tokenizer::eos() const noexcept {
  return state_->words->eos;
}
std::optional<token_id> tokenizer::padding() const noexcept {
  return state_->words->padding;
}
std::optional<token_id> tokenizer::unknown() const noexcept {
  return state_->words->unknown;
}

const std::vector<token_id>& tokenizer::end_of_generation() const noexcept {
  return state_->words->end_of_generation;
}

bool tokenizer::adds_bos() const noexcept {
  return state_->add_bos;
}
bool tokenizer::adds_eos() const noexcept {
  return state_->add_eos;
}
bool tokenizer::adds_space_prefix() const noexcept {
  return state_->add_space_prefix;
}

std::optional<token_id> tokenizer::find(std::string_view token_text) const {
  return state_->words->find(token_text);
}

std::string_view tokenizer::token_text(token_id id) const noexcept {
  return to_index(id) < vocab_size() ? std::string_view(state_->words->texts[to_index(id)])
                                     : std::string_view{};
}

}  // namespace troupe
