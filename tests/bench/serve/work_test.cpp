// What a load is made of: CPython's shuffle (values from CPython 3.11), vLLM's rules for ShareGPT,
// prompts of exact length, arrivals and lanes.
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

#include <catch2/catch.hpp>

#include "bench/serve/arrivals.hpp"
#include "bench/serve/lane_mix.hpp"
#include "bench/serve/python_random.hpp"
#include "bench/serve/random_prompts.hpp"
#include "bench/serve/sharegpt.hpp"

namespace {

using namespace troupe;
using namespace troupe::bench;

std::vector<int> shuffled(int count, std::uint64_t seed) {
  std::vector<int> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  python_random(seed).shuffle(values);
  return values;
}

std::shared_ptr<const tokenizer> tiny_tokenizer() {
  auto file = gguf_file::open(TROUPE_SOURCE_DIR "/tests/models/tiny-llama.gguf");
  REQUIRE(file);
  return *tokenizer::from_gguf(*file);
}

/// A file that goes with the test.
class written_file {
 public:
  explicit written_file(std::string_view text)
      : path_(std::filesystem::temp_directory_path() /
              ("troupe-sharegpt-" + std::to_string(::getpid()) + ".json")) {
    std::ofstream(path_) << text;
  }
  ~written_file() { std::filesystem::remove(path_); }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::size_t count_letters(std::string_view text) {
  return text.size();
}

}  // namespace

TEST_CASE("python_random draws what CPython draws") {
  python_random random(7);
  std::vector<std::uint32_t> drawn;
  for (int i = 0; i < 5; ++i) drawn.push_back(random.below(1000));
  CHECK(drawn == std::vector<std::uint32_t>{331, 970, 154, 404, 666});
  CHECK(shuffled(10, 7) == std::vector<int>{8, 3, 1, 4, 7, 0, 9, 6, 2, 5});
  CHECK(shuffled(12, (1ull << 40) + 5) == std::vector<int>{3, 5, 2, 9, 6, 7, 1, 10, 0, 4, 11, 8});
}

TEST_CASE("ShareGPT files give the first two turns") {
  const written_file file(R"([
    {"id": "a", "conversations": [{"from": "human", "value": "one"}, {"from": "gpt", "value": "two"}, {"value": "x"}]},
    {"id": "b", "conversations": [{"from": "human", "value": "alone"}]},
    {"id": "c"},
    {"id": "d", "conversations": [{"value": "\u00e9"}, {"value": "four"}], "nested": [{"conversations": []}]}])");
  const auto read = read_sharegpt(file.path());
  REQUIRE(read);
  REQUIRE(read->size() == 2);
  CHECK((*read)[0].prompt == "one");
  CHECK((*read)[0].completion == "two");
  CHECK((*read)[1].prompt == "\xc3\xa9");
}

TEST_CASE("a ShareGPT file that is missing or broken is an error") {
  CHECK(read_sharegpt("no/such/file").failure().code == errc::not_found);
  for (const char* text : {"[{\"conversations\": [", "[]", "{}", "", "[{\"conversations\": 3}]"}) {
    const written_file file(text);
    CHECK(read_sharegpt(file.path()).failure().code == errc::corrupt);
  }
}

TEST_CASE("conversations are pruned by vLLM's bounds") {
  CHECK(is_kept(4, 4, false));
  CHECK_FALSE(is_kept(3, 100, false));
  CHECK_FALSE(is_kept(100, 3, false));
  CHECK(is_kept(100, 3, true));
  CHECK(is_kept(1024, 1024, false));
  CHECK_FALSE(is_kept(1025, 4, false));
  CHECK_FALSE(is_kept(1024, 1025, false));
}

TEST_CASE("ShareGPT sampling keeps the shuffled order and draws again where there are too few") {
  std::vector<conversation> conversations;
  for (int i = 0; i < 10; ++i) conversations.push_back({"prompt" + std::to_string(i), "answer"});
  conversations.push_back({"no", "answer"});
  const auto order = shuffled(11, 3);
  const auto work = sample_sharegpt(
      conversations, {.request_count = 30, .seed = 3, .output_tokens = {}}, count_letters);
  REQUIRE(work);
  REQUIRE(work->size() == 30);
  std::size_t at = 0;
  for (const int index : order) {
    if (index == 10) continue;
    CHECK((*work)[at].prompt == "prompt" + std::to_string(index));
    CHECK((*work)[at].prompt_tokens == 7);
    CHECK((*work)[at++].output_tokens == 6);
  }
  python_random again(3);
  for (; at < 30; ++at) CHECK((*work)[at].prompt == (*work)[again.below(10)].prompt);
  const auto given = sample_sharegpt(
      conversations, {.request_count = 2, .seed = 3, .output_tokens = 1}, count_letters);
  CHECK((*given)[0].output_tokens == 1);
  CHECK(sample_sharegpt({{"no", "no"}}, {.request_count = 1, .seed = 0, .output_tokens = {}},
                        count_letters)
            .failure()
            .code == errc::invalid_argument);
}

TEST_CASE("random prompts encode to their exact length") {
  const auto tokens = tiny_tokenizer();
  const random_options options{.request_count = 40,
                               .seed = 5,
                               .input_tokens = 60,
                               .output_tokens = 20,
                               .range_ratio = 0.25,
                               .prefix_tokens = 8};
  const auto work = make_random_prompts(*tokens, options);
  REQUIRE(work);
  REQUIRE(work->size() == 40);
  std::set<std::uint32_t> lengths;
  const auto special = tokens->encode("", {.add_special = true}).size();
  for (const work_item& item : *work) {
    const auto ids = tokens->encode(item.prompt, {.add_special = true});
    CHECK(ids.size() == item.prompt_tokens);
    REQUIRE(item.prompt_token_ids.size() == ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
      CHECK(item.prompt_token_ids[i] == static_cast<std::int64_t>(ids[i]));
    CHECK(item.prompt_tokens >= 8 + 45 - special);
    CHECK(item.prompt_tokens <= 8 + 75 + special);
    CHECK(item.output_tokens >= 15);
    CHECK(item.output_tokens <= 25);
    lengths.insert(item.prompt_tokens);
  }
  CHECK(lengths.size() > 5);
  CHECK(make_random_prompts(*tokens, options).value()[7].prompt == (*work)[7].prompt);
  for (const double ratio : {-0.1, 1.0, std::nan("")}) {
    auto bad = options;
    bad.range_ratio = ratio;
    CHECK(make_random_prompts(*tokens, bad).failure().code == errc::invalid_argument);
  }
}

TEST_CASE("arrivals end at count over rate, whatever the seed and the burstiness") {
  for (const double burstiness : {0.25, 1.0, 4.0, static_cast<double>(INFINITY)}) {
    const auto times = arrival_times_s(
        {.request_count = 2000, .rate_per_s = 8.0, .burstiness = burstiness, .seed = 11});
    CHECK(std::is_sorted(times.begin(), times.end()));
    CHECK(times.back() == Approx(250.0));
    double squares = 0.0;
    for (std::size_t i = 1; i < times.size(); ++i)
      squares += std::pow((times[i] - times[i - 1]) * 8.0 - 1.0, 2);
    // A gamma distribution of mean 1 has the variance 1 / shape.
    CHECK(squares / 2000.0 == Approx(1.0 / burstiness).epsilon(0.2).margin(1e-9));
  }
  CHECK(
      arrival_times_s({.request_count = 3, .rate_per_s = INFINITY, .burstiness = 1.0, .seed = 0}) ==
      std::vector<double>{0.0, 0.0, 0.0});
  CHECK(arrival_times_s({}).empty());
}

TEST_CASE("lanes are drawn by their shares") {
  const auto mix = parse_lane_mix("vip=1,async=3");
  REQUIRE(mix);
  const auto lanes = choose_lanes(*mix, 4000, 9);
  const auto vip = std::count(lanes.begin(), lanes.end(), lane::vip);
  CHECK(vip > 900);
  CHECK(vip < 1100);
  CHECK(std::count(lanes.begin(), lanes.end(), lane::realtime) == 0);
  CHECK(choose_lanes(*mix, 4000, 9) == lanes);
  CHECK(choose_lanes({}, 2, 9) == std::vector<lane>{lane::realtime, lane::realtime});
  CHECK(parse_lane_mix("")->empty());
  for (const char* text :
       {"vip", "vip=", "vip=0", "vip=-1", "best=1", "vip=1,", "vip=1,vip=2", "vip=inf", "vip=1x"})
    CHECK(parse_lane_mix(text).failure().code == errc::invalid_argument);
}
