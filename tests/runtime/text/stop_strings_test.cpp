// The streaming matcher against a search of the whole text, for random stop strings and random
// pieces; and that it holds back what may become a stop string, and nothing else.
#include "runtime/text/stop_strings.hpp"

#include <algorithm>
#include <random>

#include <catch2/catch.hpp>

namespace troupe {
namespace {

struct outcome {
  std::string text;
  std::optional<std::size_t> stop;
};

// By the definition: the first place where any stop string ends, and there the longest.
outcome search(const std::vector<std::string>& stops, const std::string& text, bool include_stop) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < stops.size(); ++i) {
      if (!std::string_view(text).substr(0, end).ends_with(stops[i])) continue;
      if (!best || stops[i].size() > stops[*best].size()) best = i;
    }
    if (best) return {text.substr(0, include_stop ? end : end - stops[*best].size()), best};
  }
  return {text, std::nullopt};
}

// The longest suffix of the text that begins a stop string.
std::size_t longest_hold(const std::vector<std::string>& stops, const std::string& text) {
  for (std::size_t length = text.size(); length > 0; --length) {
    for (const auto& stop : stops) {
      if (stop.starts_with(std::string_view(text).substr(text.size() - length))) return length;
    }
  }
  return 0;
}

}  // namespace

TEST_CASE("random stops, texts and pieces give what a search of the whole text gives") {
  const unsigned seed = 77;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  int stopped_count = 0;
  for (int round = 0; round < 20'000; ++round) {
    const unsigned letters = 1 + random() % 4;
    const auto random_text = [&](unsigned length) {
      std::string text;
      for (; length > 0; --length) text += static_cast<char>("ab\xC3\n"[random() % letters]);
      return text;
    };
    std::vector<std::string> stops;
    for (unsigned i = random() % 5; i > 0; --i) stops.push_back(random_text(1 + random() % 5));
    const bool include_stop = random() % 2 == 0;
    const std::string text = random_text(random() % 40);
    const outcome expected = search(stops, text, include_stop);

    auto matcher = stop_strings::create(stops, include_stop).value();
    outcome actual;
    std::string fed;
    for (std::size_t at = 0; at < text.size();) {
      const std::string piece = text.substr(at, random() % 6);
      at += piece.size();
      const auto step = matcher.push(piece);
      actual.text += step.text;
      fed += piece;
      if (step.stop) actual.stop = step.stop;
      if (!actual.stop) {
        REQUIRE(matcher.held_bytes() == longest_hold(stops, fed));
        REQUIRE(actual.text.size() + matcher.held_bytes() == fed.size());
      }
    }
    actual.text += matcher.finish();
    REQUIRE(actual.text == expected.text);
    REQUIRE(actual.stop.has_value() == expected.stop.has_value());
    REQUIRE(matcher.is_stopped() == expected.stop.has_value());
    if (expected.stop) REQUIRE(stops[*actual.stop] == stops[*expected.stop]);
    stopped_count += expected.stop ? 1 : 0;
  }
  CHECK(stopped_count > 1000);
}

TEST_CASE("text goes out as soon as it cannot be a stop string") {
  auto matcher = stop_strings::create({"\n\nUser:", "###"}, false).value();
  CHECK(matcher.push("Hi").text == "Hi");
  CHECK(matcher.push("\n").text == "");
  CHECK(matcher.push("\nUse").text == "");
  CHECK(matcher.push("s").text == "\n\nUses");
  CHECK(matcher.push(" ##").text == " ");
  const auto step = matcher.push("# and more");
  CHECK(step.text == "");
  CHECK(step.stop == 1);
  CHECK(matcher.push("nothing").text == "");
  CHECK(matcher.finish() == "");
}

TEST_CASE("a stop string can be sent, and a stream can end inside of one") {
  auto with_stop = stop_strings::create({"END"}, true).value();
  CHECK(with_stop.push("the E").text == "the ");
  CHECK(with_stop.push("ND.").text == "END");
  auto unfinished = stop_strings::create({"END"}, false).value();
  CHECK(unfinished.push("the EN").text == "the ");
  CHECK(unfinished.finish() == "EN");
  auto none = stop_strings::create({}, false).value();
  CHECK(none.push("anything").text == "anything");
}

TEST_CASE("in passed text no stop string counts, but one may begin") {
  auto stops = stop_strings::create({"cd", "xyz"}, false).value();
  CHECK(stops.pass("abcdexy") == "abcde");
  CHECK(stops.held_bytes() == 2);
  const auto step = stops.push("z and more");
  CHECK(step.stop == std::size_t{1});
  CHECK(step.text.empty());

  auto whole = stop_strings::create({"cd"}, false).value();
  std::string text = whole.pass("abcd");
  text += whole.push("ef").text;
  CHECK(text + whole.finish() == "abcdef");
}

TEST_CASE("a repetitive megabyte is linear work") {
  const std::string stop = std::string(1000, 'a') + "b";
  auto matcher = stop_strings::create({stop}, false).value();
  std::size_t sent = 0;
  for (int i = 0; i < 1000; ++i) sent += matcher.push(std::string(1000, 'a')).text.size();
  CHECK(sent == 999'000);
  CHECK(matcher.push("b").stop == 0);
}

TEST_CASE("stop strings are bounded") {
  const auto code = [](const std::vector<std::string>& stops) {
    const auto made = stop_strings::create(stops, false);
    return made ? std::string{} : std::string(to_string(made.failure().code));
  };
  CHECK(code({""}) == "invalid_argument");
  CHECK(code({std::string(1024, 'a')}).empty());
  CHECK(code({std::string(1025, 'a')}) == "invalid_argument");
  CHECK(code(std::vector<std::string>(64, "a")).empty());
  CHECK(code(std::vector<std::string>(65, "a")) == "invalid_argument");
}

}  // namespace troupe
