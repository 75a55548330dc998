// Clients of a world: submit requests, note everything that comes back to where they are connected
// now, and compare it with the naive engine.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/actors/system/world.hpp"

namespace troupe::test {

struct reader {
  std::string request_id;
  std::string identity;  ///< of the connection it listens to now
  std::string tenant;
  bool resumable = false;
  bool is_duplicate = false;
  bool has_reconnected = false;
  bool was_disturbed = false;  ///< cancelled, gone, or with a deadline: may end with an error
  std::vector<token_id> prompt;
  bool wants_prompt_logprobs = false;
  std::vector<expected_output> expected;

  std::vector<expected_output> got;
  std::vector<std::int64_t> scored_prompt;  ///< by the first delta of sequence 0
  std::uint32_t accepted_count = 0;
  std::optional<message_body> last_word;
};

class readers {
 public:
  /// Submits; the tokens expected are computed first. Null: refused by the gate.
  reader* submit(world& in, troupe::submit request, envelope_header header, bool resumable,
                 const std::string& tenant, bool is_duplicate = false) {
    auto made = std::make_unique<reader>();
    made->request_id = header.request_id;
    made->identity = "connection-" + std::to_string(++connections_);
    made->tenant = tenant;
    made->resumable = resumable;
    made->is_duplicate = is_duplicate;
    made->was_disturbed = header.deadline_ms != 0;
    const auto prepared = in.prompts().prepare(request, 0, {}).value();
    made->prompt = *prepared.tokens;
    made->wants_prompt_logprobs = request.prompt_logprobs.has_value();
    for (std::uint32_t i = 0; i < prepared.params->n; ++i)
      made->expected.push_back(
          generate_naively(made->prompt, *prepared.params, in.vocabulary(), i));
    made->got.resize(made->expected.size());
    header.kind = message_kind::submit;
    const client_ref client{0, made->identity};
    reader* listening = made.get();
    listening_[made->identity] = listening;
    if (auto sent = in.link().submit({client, header, std::move(request), tenant, resumable});
        !sent) {
      CHECK(sent.failure().code == errc::overloaded);
      listening_.erase(made->identity);
      return nullptr;
    }
    all_.push_back(std::move(made));
    return listening;
  }

  /// The connection breaks: nothing sent to it is seen any more. Comes back under another one.
  void reconnect(world& in, reader& client) {
    client.has_reconnected = true;
    listening_.erase(client.identity);
    client.identity = "connection-" + std::to_string(++connections_);
    listening_[client.identity] = &client;
    resume seen;
    for (const auto& sequence : client.got) seen.offsets.push_back(sequence.tokens.size());
    in.link().resume({0, client.identity}, client.tenant, client.request_id, seen);
  }

  void take(const outbound& event) {
    const auto found = listening_.find(event.client.identity);
    if (found == listening_.end()) return;  // nobody is there any more
    reader& client = *found->second;
    INFO("request " << client.request_id << " at " << client.identity);
    CHECK(event.header.request_id == client.request_id);
    if (const auto* part = std::get_if<delta>(&event.body))
      return take(client, event.header, *part);
    if (std::holds_alternative<accepted>(event.body)) {
      ++client.accepted_count;
      return;
    }
    // A cancel that came too late is told so.
    const auto* failure = std::get_if<error_reply>(&event.body);
    if (client.last_word && client.was_disturbed && failure != nullptr &&
        failure->code == "not_found")
      return;
    // One last word; a resume may have crossed it on its way, and then it comes twice.
    if (client.last_word) {
      CHECK(client.resumable);
      CHECK(client.last_word->index() == event.body.index());
    }
    client.last_word = event.body;
  }

  void check_outcome(const reader& client) const {
    INFO("request " << client.request_id << " of " << client.tenant);
    REQUIRE(client.last_word.has_value());
    if (const auto* failure = std::get_if<error_reply>(&*client.last_word)) {
      INFO(failure->code << ": " << failure->message);
      CHECK((client.was_disturbed || (client.is_duplicate && failure->code == "already_exists")));
      for (std::size_t i = 0; i < client.got.size(); ++i) check_prefix(client, i);
      return;
    }
    const auto& summary = std::get<finished>(*client.last_word);
    std::uint64_t token_count = 0;
    for (std::size_t i = 0; i < client.got.size(); ++i) {
      CHECK(client.got[i].tokens == client.expected[i].tokens);
      CHECK(client.got[i].text == client.expected[i].text);
      CHECK(client.got[i].finish_reason == client.expected[i].finish_reason);
      CHECK(summary.finish_reasons.at(i) == client.expected[i].finish_reason);
      token_count += client.expected[i].tokens.size();
    }
    CHECK(summary.prompt_tokens == client.prompt.size());
    CHECK(summary.completion_tokens == token_count);
    // `accepted` may have gone to a connection that broke.
    if (!client.has_reconnected) CHECK(client.accepted_count == 1);
    if (!client.wants_prompt_logprobs) return;
    std::vector<std::int64_t> scored;
    for (std::size_t i = 1; i < client.prompt.size(); ++i)
      scored.push_back(static_cast<std::int64_t>(client.prompt[i]));
    CHECK(client.scored_prompt == scored);
  }

  void check_outcomes() const {
    for (const auto& client : all_) check_outcome(*client);
  }

  std::vector<reader*> unfinished() const {
    std::vector<reader*> left;
    for (const auto& client : all_) {
      if (!client->last_word) left.push_back(client.get());
    }
    return left;
  }
  const std::vector<std::unique_ptr<reader>>& all() const { return all_; }

 private:
  static void take(reader& client, const envelope_header& header, const delta& part) {
    expected_output& got = client.got.at(header.sequence);
    CHECK(header.offset <= got.tokens.size());  // no gap
    const std::uint64_t end = header.offset + part.token_ids.size();
    const bool ends_empty = part.token_ids.empty() && got.finish_reason.empty();
    if (end <= got.tokens.size() && !ends_empty) {  // a resume repeats what was on its way
      CHECK(client.resumable);
      return;
    }
    CHECK(header.offset == got.tokens.size());
    if (header.offset == 0 && header.sequence == 0) {
      for (const auto& position : part.prompt_logprobs)
        client.scored_prompt.push_back(position.chosen.token_id);
    }
    got.tokens.insert(got.tokens.end(), part.token_ids.begin(), part.token_ids.end());
    got.text += part.text;
    CHECK(got.finish_reason.empty());
    got.finish_reason = part.finish_reason.value_or("");
  }

  static void check_prefix(const reader& client, std::size_t sequence) {
    const auto& got = client.got[sequence].tokens;
    const auto& all = client.expected[sequence].tokens;
    REQUIRE(got.size() <= all.size());
    CHECK(std::equal(got.begin(), got.end(), all.begin()));
  }

  std::map<std::string, reader*> listening_;  // by identity
  std::vector<std::unique_ptr<reader>> all_;
  std::uint64_t connections_ = 0;
};

}  // namespace troupe::test
