// Conversations for measuring memory use: the ShareGPT file that TROUPE_SHAREGPT names, else a
// generated sample with lengths like it.
#pragma once

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/base/index_types.hpp"

namespace troupe::test {

struct conversation {
  std::vector<std::vector<token_id>> messages;  ///< of the human and the model in turn
};

struct conversation_sample {
  std::string source;
  std::vector<conversation> conversations;
};

/// Pieces of at most 4 bytes that end where a word does: about as many as a real tokenizer makes.
/// Equal texts give equal tokens, which is all that the prefix cache sees.
inline std::vector<token_id> approximate_tokens(const std::string& text) {
  std::vector<token_id> tokens;
  std::uint32_t piece = 0, length = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    piece = piece << 8 | static_cast<unsigned char>(text[i]);
    const bool word_ends = std::isalnum(static_cast<unsigned char>(text[i])) != 0 &&
                           i + 1 < text.size() && text[i + 1] == ' ';
    if (++length < 4 && !(word_ends && length >= 3) && i + 1 < text.size()) continue;
    tokens.push_back(static_cast<token_id>(piece & 0x7FFFFFFFu));
    piece = length = 0;
  }
  return tokens;
}

inline conversation_sample read_sharegpt(const std::string& path, std::size_t count_max) {
  conversation_sample sample{"ShareGPT (TROUPE_SHAREGPT), about 4 bytes a token", {}};
  std::ifstream file(path);
  const auto document = nlohmann::json::parse(file);
  for (const auto& each : document) {
    conversation made;
    for (const auto& message : each.at("conversations")) {
      const std::string from = message.at("from");
      const bool is_human = from == "human" || from == "user";
      if (is_human != (made.messages.size() % 2 == 0)) continue;  // a system text or two in a row
      auto tokens = approximate_tokens(message.at("value"));
      if (tokens.empty()) break;
      made.messages.push_back(std::move(tokens));
    }
    if (made.messages.size() % 2 != 0) made.messages.pop_back();
    if (made.messages.size() >= 2) sample.conversations.push_back(std::move(made));
    if (sample.conversations.size() == count_max) break;
  }
  return sample;
}

/// Log-normal lengths with the moments of ShareGPT's bytes / 4 (human: mu 3.26, sigma 1.33; model:
/// mu 5.48, sigma 1.06) and its mean of 3.5 turns. Fixed seed.
inline conversation_sample generate_sample(std::size_t count) {
  conversation_sample sample{"generated, log-normal lengths like ShareGPT's, seed 4711", {}};
  std::mt19937 random(4711);
  std::lognormal_distribution<double> human(3.26, 1.33), model(5.48, 1.06);
  std::geometric_distribution<int> turns(1.0 / 3.5);
  for (std::size_t i = 0; i < count; ++i) {
    conversation made;
    for (int turn = turns(random); turn >= 0; --turn) {
      for (auto* lengths : {&human, &model}) {
        auto& tokens = made.messages.emplace_back(1 + static_cast<std::size_t>((*lengths)(random)));
        for (auto& token : tokens) token = static_cast<token_id>(random() % 50'000);
      }
    }
    sample.conversations.push_back(std::move(made));
  }
  return sample;
}

/// Read once and kept: the file is large.
inline const conversation_sample& sample_conversations() {
  constexpr std::size_t count = 2000;
  static const conversation_sample sample = [] {
    const char* path = std::getenv("TROUPE_SHAREGPT");
    return path != nullptr ? read_sharegpt(path, count) : generate_sample(count);
  }();
  return sample;
}

}  // namespace troupe::test
