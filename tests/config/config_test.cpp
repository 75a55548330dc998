// The configuration: every key loads from YAML and from a flag, wrong ones are refused with their
// line and the key that was meant, the checks across keys hold, the presets load, and
// docs/config.md is what the schema says.
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>

#include "config/limits.hpp"
#include "config/load.hpp"

using namespace troupe;

namespace {

std::string problem(std::string_view yaml, const std::vector<config_override>& overrides = {}) {
  const auto loaded = parse_config(yaml, "test.yaml", overrides);
  return loaded ? "loaded" : loaded.failure().message;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

const std::filesystem::path source = TROUPE_SOURCE_DIR;

}  // namespace

TEST_CASE("nothing given means the defaults") {
  for (const auto yaml : {"", "# only a comment\n", "---\n", "engine: {}\n", "engine:\n",
                          "engine:\nlanes:\n  vip:\n"}) {
    const auto config = parse_config(yaml, "test.yaml");
    REQUIRE(config);
    CHECK(config->max_num_seqs == 256);
    CHECK(config->max_num_batched_tokens == 4096);
    CHECK(config->http == "127.0.0.1:8000");
    CHECK(config->lanes[realtime_lane].max_wait_ms == 100);
    CHECK(config->lanes[async_lane].max_delay_ms == 5000);
    CHECK(config->optimizer.type == "none");
  }
  CHECK(load_config(std::nullopt, {}));
}

TEST_CASE("the presets load") {
  const auto load = [](const char* name) {
    auto config = load_config(source / "config/presets" / name, {});
    INFO((config ? "" : config.failure().message));
    REQUIRE(config);
    return *config;
  };
  CHECK(load("laptop.yaml").max_num_seqs == 8);
  CHECK(load("server.yaml").lanes[vip_lane].ttft_ms == 300);
  const server_config speculative = load("speculative.yaml");
  CHECK(speculative.max_num_batches == 32);
  CHECK(speculative.batch_size == 16);
  CHECK(speculative.gpu_memory_utilization == 0.95);
  CHECK(speculative.optimizer.type == "speculative");
  CHECK(speculative.optimizer.spec_num_candidates == 4);
  CHECK(speculative.optimizer.spec_threshold == 0.85);
}

TEST_CASE("engine keys stand at the top or under engine, sections nest, lists are lists") {
  const auto config = parse_config(
      "max_num_seqs: 12\nengine:\n  block_size: 32\n  max_batch_size: 4\nbatch_size: 2\n"
      "lanes:\n  vip: {max_queued: 5, reserved_fraction: 0.25}\napi_key: [a, b]\nmodel: 'x "
      "y.gguf'\n"
      "enable_prefix_caching: off\nmax_tokens: 64\n",
      "test.yaml");
  REQUIRE(config);
  CHECK(config->max_num_seqs == 12);
  CHECK(config->block_size == 32);
  CHECK(config->lanes[vip_lane].max_queued == 5);
  CHECK(config->lanes[vip_lane].reserved_fraction == 0.25);
  CHECK(config->api_key == std::vector<std::string>{"a", "b"});
  CHECK(config->model == "x y.gguf");
  CHECK_FALSE(config->enable_prefix_caching);
  CHECK(config->max_num_batched_tokens == 64);
  for (const auto no : {"false", "False", "FALSE", "no", "Off"})
    CHECK_FALSE(
        parse_config("enable_prefix_caching: " + std::string(no), "")->enable_prefix_caching);
  for (const auto yes : {"true", "True", "TRUE", "YES", "on"})
    CHECK(parse_config("enable_prefix_caching: " + std::string(yes), "")->enable_prefix_caching);
  CHECK(parse_config("api_key: one\n", "")->api_key == std::vector<std::string>{"one"});
}

TEST_CASE("flags win over the file, for every key") {
  const std::vector<config_override> overrides = {
      {"max_num_seqs", "7"}, {"lanes.async.max_delay_ms", "9"},
      {"api_key", "k1,k2"},  {"max_tokens", "99"},
      {"batch_size", "1"},   {"max_batch_size", "1"}};
  const auto config = parse_config("max_num_seqs: 300\n", "test.yaml", overrides);
  REQUIRE(config);
  CHECK(config->max_num_seqs == 7);
  CHECK(config->lanes[async_lane].max_delay_ms == 9);
  CHECK(config->api_key == std::vector<std::string>{"k1", "k2"});
  CHECK(config->max_num_batched_tokens == 99);

  std::set<std::string> flags;
  for (const config_key& key : config_schema()) {
    INFO(key.path);
    CHECK(flags.insert(key.flag).second);
    CHECK(key.flag.starts_with("--"));
    CHECK_FALSE(key.doc.empty());
    CHECK_FALSE(key.help().empty());
    CHECK(find_config_key(key.path) == &key);
    const std::string text = key.value_text(server_config{});
    if (text == "\"\"" || text == "[]") continue;
    const auto same = parse_config("", "", std::vector<config_override>{{key.path, text}});
    INFO((same ? "" : same.failure().message));
    REQUIRE(same);
    CHECK(key.value_text(*same) == text);
  }
}

TEST_CASE("keys that nothing acts on yet say so, and those that were set are listed") {
  CHECK(parse_config("max_num_seqs: 7\n", "")->idle_keys.empty());
  const auto config =
      parse_config("gpu_memory_utilization: 0.5\noptimizer: {type: none}\nmax_num_seqs: 7\n", "",
                   std::vector<config_override>{{"optimizer.spec_threshold", "0.1"},
                                                {"gpu_memory_utilization", "0.6"}});
  CHECK(config->idle_keys == std::vector<std::string>{"gpu_memory_utilization", "optimizer.type",
                                                      "optimizer.spec_threshold"});
  CHECK_THAT(find_config_key("gpu_memory_utilization")->help(),
             Catch::Contains("not acted on yet"));
  CHECK(find_config_key("max_num_seqs")->help().find("not acted on yet") == std::string::npos);
}

TEST_CASE("an unknown key is an error with its line and the key that was meant") {
  CHECK(problem("model: x\nmax_num_seq: 4\n") ==
        "test.yaml:2: unknown key \"max_num_seq\"; did you mean \"max_num_seqs\"?");
  CHECK(problem("engine:\n  blok_size: 16\n") ==
        "test.yaml:2: unknown key \"blok_size\"; did you mean \"block_size\"?");
  CHECK(problem("lanes:\n  vip:\n    ttft: 3\n") ==
        "test.yaml:3: unknown key \"lanes.vip.ttft\"; did you mean \"lanes.vip.ttft_ms\"?");
  CHECK_THAT(problem("lanes:\n  gold: {ttft_ms: 3}\n"),
             Catch::Contains("test.yaml:2: unknown key \"lanes.gold\""));
  CHECK(problem("zebra: 1\n") == "test.yaml:1: unknown key \"zebra\"");
  CHECK_THAT(problem("spec_threshold: 1\n"), Catch::Contains("\"optimizer.spec_threshold\""));
  CHECK_THAT(problem("", {{"max_seqs", "4"}}), Catch::Contains("did you mean \"max_num_seqs\""));
}

TEST_CASE("values of the wrong type or out of range are errors with their line") {
  CHECK(problem("\nmax_num_seqs: 0\n") ==
        "test.yaml:2: max_num_seqs must be an integer from 1 to 65536 sequences, not \"0\"");
  CHECK(problem("", {{"threads", "many"}}) ==
        "--threads: threads must be an integer from 0 to 1024 threads, not \"many\"");
  for (const auto yaml : {"max_num_seqs: 1.5",
                          "max_num_seqs: 99999999999999999999",
                          "max_num_seqs: [1, 2]",
                          "max_num_seqs: -1",
                          "max_num_seqs: 0x10",
                          "max_num_seqs: ",
                          "max_num_seqs: {a: 1}",
                          "gpu_memory_utilization: 1.5",
                          "gpu_memory_utilization: .nan",
                          "spec: 1",
                          "enable_prefix_caching: 2",
                          "kv_cache_dtype: int4",
                          "log_level: loud",
                          "isa: sse",
                          "engine: 3",
                          "lanes: []",
                          "engine: {engine: {threads: 1}}",
                          "engine: {lanes: {vip: {ttft_ms: 1}}}",
                          "[a, b]",
                          "just text",
                          "? [a]\n: 1",
                          "compute_nice: -5",
                          "api_key: [[a]]"}) {
    INFO(yaml);
    CHECK_THAT(problem(yaml), Catch::StartsWith("test.yaml:1: "));
  }
  CHECK(problem("threads: 1\nengine: {threads: 2}\n") ==
        "test.yaml:2: threads is already set in line 1");
  CHECK_THAT(problem("max_tokens: 512\nmax_num_batched_tokens: 512\n"),
             Catch::Contains("already set in line 1"));
}

TEST_CASE("text that is no YAML is an error with its line") {
  for (const auto yaml : {"a: [1, 2", "a: b: c", "\"x", "a:\n\t- b", "&a *b", "--- 1\n--- 2\n"}) {
    INFO(yaml);
    CHECK_THAT(problem(yaml), Catch::StartsWith("test.yaml"));
  }
}

TEST_CASE("the checks across keys") {
  CHECK_THAT(problem("block_size: 48"), Catch::Contains("block_size must be 16"));
  CHECK_THAT(problem("max_num_seqs: 512\nmax_num_batched_tokens: 256"),
             Catch::Contains("at least max_num_seqs"));
  CHECK_THAT(problem("max_model_len: 8192\nenable_chunked_prefill: false"),
             Catch::Contains("at least max_model_len"));
  CHECK(problem("max_model_len: 8192") == "loaded");
  CHECK(problem("max_num_seqs: 8") == "loaded");
  CHECK_THAT(problem("client_timeout_ms: 2000"), Catch::Contains("heartbeat_ms"));
  CHECK_THAT(problem("step_ms_max: 20\nvip_step_ms_max: 25"), Catch::Contains("vip_step_ms_max"));
  CHECK_THAT(problem("lanes: {vip: {reserved_fraction: 0.5}, async: {reserved_fraction: 0.5}}"),
             Catch::Contains("reserve more"));
  CHECK_THAT(problem("api_key: ['']"), Catch::Contains("api_key"));
  CHECK_THAT(problem("api_key: ['a b']"), Catch::Contains("api_key"));
}

TEST_CASE("listening beyond this machine needs a key, and ZeroMQ refuses it") {
  for (const std::string host : {"0.0.0.0", "[::]", "192.168.0.1", "example.org", "127.evil.org"}) {
    INFO(host);
    CHECK_THAT(problem("http: '" + host + ":80'"), Catch::Contains("api_key must be set"));
    CHECK(problem("http: '" + host + ":80'\napi_key: secret") == "loaded");
    CHECK_THAT(problem("zmq: 'tcp://" + host + ":1'\napi_key: secret"), Catch::Contains("CURVE"));
  }
  CHECK_THAT(problem("zmq: tcp://*:5555"), Catch::Contains("CURVE"));
  for (const auto yaml : {"http: localhost:0", "http: '[::1]:8000'", "http: ''", "zmq: ''",
                          "zmq: tcp://127.0.0.2:*", "zmq: ipc:///run/troupe.sock"})
    CHECK(problem(yaml) == "loaded");
  for (const auto yaml :
       {"http: 8000", "http: localhost", "http: ':80'", "http: 'a:b'", "http: a:99999",
        "http: '::1:80'", "zmq: 127.0.0.1:5555", "zmq: tcp://localhost", "zmq: ipc://"})
    CHECK_THAT(problem(yaml), Catch::Contains(" must be "));
}

TEST_CASE("files that cannot be read are errors") {
  const auto missing = load_config(source / "no such file.yaml", {});
  REQUIRE_FALSE(missing);
  CHECK(missing.failure().code == errc::not_found);
  CHECK_FALSE(load_config(source, {}));
}

TEST_CASE("docs/config.md is what the schema says") {
  const std::string document = config_document();
  const auto path = source / "docs/config.md";
  INFO("write it anew with TROUPE_WRITE_DOCS=1");
  if (std::getenv("TROUPE_WRITE_DOCS") != nullptr) std::ofstream(path) << document;
  CHECK(read_file(path) == document);
}
