// What is remembered of finished requests: bounded in time and in bytes, oldest first.
#include "actors/router/directory.hpp"

#include <catch2/catch.hpp>

#include "config/limits.hpp"

namespace troupe {
namespace {

constexpr monotonic_time start{};

ticket_ptr ticket_of(std::uint64_t number) {
  auto ticket = std::make_shared<request_ticket>();
  ticket->id = request_id{number};
  ticket->client_request_id = std::to_string(number);
  return ticket;
}

void finish(request_directory& directory, std::uint64_t number, std::uint64_t size_bytes) {
  REQUIRE(directory.add(ticket_of(number)));
  directory.remove(request_id{number},
                   std::make_shared<const transcript>(transcript{{}, size_bytes}), start);
}

bool remembers(const request_directory& directory, std::uint64_t number) {
  return directory.remembered("", std::to_string(number)) != nullptr;
}

TEST_CASE("transcripts are bounded in bytes: the oldest are forgotten first") {
  request_directory directory(std::chrono::seconds(30));
  const std::uint64_t half_bytes = limits::terminal_replies_bytes_max / 2;
  finish(directory, 1, half_bytes);
  finish(directory, 2, half_bytes);
  CHECK(remembers(directory, 1));
  finish(directory, 3, 1);
  CHECK_FALSE(remembers(directory, 1));
  CHECK(remembers(directory, 2));
  CHECK(remembers(directory, 3));
  // One that is too large alone is not kept, and leaves room for the next.
  finish(directory, 4, limits::terminal_replies_bytes_max + 1);
  CHECK_FALSE(directory.has_memories());
  finish(directory, 5, half_bytes);
  CHECK(remembers(directory, 5));
  directory.expire(start + std::chrono::seconds(30));
  CHECK_FALSE(directory.has_memories());
}

TEST_CASE("a transcript counts the bytes of its logprobs") {
  delta part;
  part.text = "four";
  transcript said;
  said.add({{client_ref{}, envelope_header{}, part}});
  const std::uint64_t plain_bytes = said.size_bytes;
  part.prompt_logprobs.assign(10, position_logprobs{{}, std::vector<logprob_entry>(20)});
  said.add({{client_ref{}, envelope_header{}, part}});
  CHECK(said.events.size() == 2);
  CHECK(said.size_bytes - plain_bytes >= 10 * 21 * sizeof(logprob_entry));
}

}  // namespace
}  // namespace troupe
