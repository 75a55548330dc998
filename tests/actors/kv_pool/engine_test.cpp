// Proves on whole engines with devices too small for their conversations: texts are the same with
// the lower tier and without, whether requests come one by one or preempt each other; preempted
// ones come back from it; and a restarted replica finds what the last one left.
#include <atomic>
#include <filesystem>
#include <stdexcept>

#include <catch2/catch.hpp>

#include "actors/embedded/embedded.hpp"
#include "runtime/model/forward.hpp"
#include "runtime/observe/metrics.hpp"
#include "tests/skip.hpp"

using namespace troupe;

namespace {

const std::string model_path =
    (std::filesystem::path(TROUPE_SOURCE_DIR) / "tests/models/tiny-llama.gguf").string();

/// Throws in place of the next step when told to.
class failing_executor final : public step_executor {
 public:
  failing_executor(std::unique_ptr<step_executor> real, std::shared_ptr<std::atomic<bool>> fail)
      : real_(std::move(real)), fail_(std::move(fail)) {}
  step_result execute(const step_plan& plan) override {
    if (fail_->exchange(false)) throw std::runtime_error("told to fail");
    return real_->execute(plan);
  }

 private:
  std::unique_ptr<step_executor> real_;
  std::shared_ptr<std::atomic<bool>> fail_;
};

class small_engine {
 public:
  explicit small_engine(double kv_offload_gib, const std::string& path = model_path) {
    thread_pool loaders({.thread_count = 1});
    const auto model = loaded_model::load(path, best_isa(), loaders, [](float) {}).value();
    const auto layout = kv_layout_for(model->description, kernels::kv_dtype::f16, 16).value();
    server_config config;
    config.model = path;
    config.max_model_len = 128;
    config.max_num_seqs = 8;
    config.threads = 1;
    // Eleven blocks; a conversation below takes six.
    config.cpu_kv_cache_gib =
        11.5 * static_cast<double>(layout.block_bytes() * model->description.layer_count) /
        (1u << 30);
    config.kv_offload_gib = kv_offload_gib;
    engine_hooks hooks;
    hooks.wrap_executor = [fail = fail_](std::unique_ptr<step_executor> real) {
      return std::unique_ptr<step_executor>(
          std::make_unique<failing_executor>(std::move(real), fail));
    };
    engine_.emplace(embedded_engine::open(config, hooks).value());
  }

  std::string answer(int conversation) { return begin(conversation, 81, 8).text().value(); }
  generation begin(int conversation, int prompt_count, int max_tokens) {
    submit request;
    request.prompt_token_ids.emplace();
    for (int i = 0; i < prompt_count; ++i)
      request.prompt_token_ids->push_back(5 + (conversation * 37 + i * 11) % 200);
    request.max_tokens = max_tokens;
    request.seed = 3;
    request.ignore_eos = true;
    return engine_->generate(std::move(request), lane::async).value();
  }
  /// Eight at once, of seven blocks each in the end.
  std::vector<std::string> answer_together() {
    std::vector<generation> open;
    for (int conversation = 0; conversation < 8; ++conversation)
      open.push_back(begin(conversation, 17, 92));
    std::vector<std::string> texts;
    for (generation& each : open) texts.push_back(each.text().value());
    return texts;
  }
  std::vector<std::string> answer_all() {
    std::vector<std::string> texts;
    for (int conversation = 0; conversation < 4; ++conversation)
      texts.push_back(answer(conversation));
    return texts;
  }
  [[nodiscard]] double hit_blocks() {
    return engine_->core().measured().values().at("kv_offload_hit_blocks_total");
  }
  [[nodiscard]] double came_back(preemption_kind kind) {
    const std::string text = engine_->core().measured().exposition();
    const std::string label = "kind=\"" + std::string(to_string(kind)) + "\"";
    for (std::size_t at = 0; (at = text.find("troupe:preemptions_total{", at)) != text.npos; ++at) {
      const std::string line = text.substr(at, text.find('\n', at) - at);
      if (line.find(label) != line.npos) return std::stod(line.substr(line.rfind(' ')));
    }
    return 0.0;
  }
  void fail_next_step() { fail_->store(true); }
  [[nodiscard]] bool has_failed() const { return !fail_->load(); }

 private:
  std::shared_ptr<std::atomic<bool>> fail_ = std::make_shared<std::atomic<bool>>(false);
  std::optional<embedded_engine> engine_;
};

}  // namespace

TEST_CASE("an engine gives the same texts with a lower tier, and finds them after a restart",
          "[kv_pool]") {
  small_engine without(0.0), with(0.01);
  const auto expected = without.answer_all();
  REQUIRE(with.answer_all() == expected);
  REQUIRE(with.answer_all() == expected);
  REQUIRE(without.hit_blocks() == 0.0);
  const double hits_before = with.hit_blocks();
  REQUIRE(hits_before >= 5.0);

  with.fail_next_step();
  REQUIRE(with.answer(0) == expected[0]);
  REQUIRE(with.has_failed());
  REQUIRE(with.answer(1) == expected[1]);
  REQUIRE(with.hit_blocks() > hits_before);
}

namespace {

/// Preempted requests are the same with the tier and without; how many came back from it.
double check_preempted(const std::string& path) {
  small_engine without(0.0, path), with(0.1, path);
  const auto expected = without.answer_together();
  REQUIRE(with.answer_together() == expected);
  REQUIRE(without.came_back(preemption_kind::swapped) == 0.0);
  REQUIRE(without.came_back(preemption_kind::recomputed) > 0.0);
  const double swapped = with.came_back(preemption_kind::swapped);
  WARN(std::filesystem::path(path).stem().string()
       << ": with the tier " << swapped << " swapped, " << with.came_back(preemption_kind::kept)
       << " kept, " << with.came_back(preemption_kind::recomputed) << " recomputed; without it "
       << without.came_back(preemption_kind::kept) << " kept, "
       << without.came_back(preemption_kind::recomputed) << " recomputed");
  return swapped;
}

}  // namespace

TEST_CASE("preempted requests give the same texts with a lower tier", "[kv_pool]") {
  check_preempted(model_path);
}

TEST_CASE("preempted requests of a real model come back from the lower tier", "[kv_pool][real]") {
  const auto path = test::required_file("TROUPE_TEST_MODEL");
  if (!path) return;
  REQUIRE(check_preempted(path->string()) > 0.0);
}
