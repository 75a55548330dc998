// The HTTP port's endpoints over real sockets and a fake gateway: what is submitted, what is
// answered, and what each kind of wrong request gets. Streams, broken transport and shutdown have
// files of their own.
#include <set>

#include <catch2/catch.hpp>

#include "tests/actors/http_fixture.hpp"

namespace troupe::test {
namespace {

TEST_CASE("health follows the engine's state") {
  http_fixture server;
  for (const auto state : {engine_state::starting, engine_state::ready, engine_state::restarting,
                           engine_state::draining, engine_state::dead}) {
    server.engine.status.set(state);
    const http_answer answer = server.ask(get("/health"));
    CHECK(answer.status == (state == engine_state::ready ? 200 : 503));
    CHECK(json::parse(answer.body).at("status") == to_string(state));
  }
}

TEST_CASE("version, models and metrics") {
  http_fixture server;
  CHECK(json::parse(server.ask(get("/version")).body).at("version") == "1.2.3");

  const json models = json::parse(server.ask(get("/v1/models")).body);
  CHECK(models.at("object") == "list");
  CHECK(models.at("data").at(0).at("id") == "tiny");
  CHECK(models.at("data").at(0).at("max_model_len") == 2048);

  const http_answer metrics = server.ask(get("/metrics"));
  CHECK(metrics.fields.at("content-type").starts_with("text/plain; version=0.0.4"));
  CHECK(metrics.body.find("troupe:num_requests_running{model_name=\"tiny\"") != std::string::npos);
}

TEST_CASE("HEAD answers like GET, without the body") {
  http_fixture server;
  http_client client = server.connect();
  client.send("HEAD /version HTTP/1.1\r\nHost: test\r\n\r\n" + get("/version"));
  const http_answer head = client.read_answer(true);
  const http_answer full = client.read_answer();
  CHECK(head.status == 200);
  CHECK(head.fields.at("content-length") == std::to_string(full.body.size()));
}

TEST_CASE("the target may have a query or be absolute") {
  http_fixture server;
  CHECK(server.ask(get("/health?verbose=1")).status == 200);
  CHECK(server.ask(get("http://127.0.0.1:8000/health")).status == 200);
}

TEST_CASE("unknown paths and methods are JSON errors") {
  http_fixture server;
  const http_answer missing = server.ask(get("/v2/nothing"));
  CHECK(missing.status == 404);
  CHECK(missing.fields.at("content-type") == "application/json");
  CHECK(
      json::parse(missing.body).at("error").at("message").get<std::string>().find("/v2/nothing") !=
      std::string::npos);

  const http_answer wrong = server.ask(get("/v1/completions"));
  CHECK(wrong.status == 405);
  CHECK(wrong.fields.at("allow") == "POST, OPTIONS");
  CHECK(json::parse(wrong.body).at("error").at("code") == 405);
  const http_answer also_wrong = server.ask(post("/v1/models", "{}"));
  CHECK(also_wrong.status == 405);
  CHECK(also_wrong.fields.at("allow") == "GET, HEAD, OPTIONS");
}

TEST_CASE("pages of other origins may ask, and need a key where others do") {
  http_fixture server({}, config_of_keys({"key"}));
  const http_answer preflight = server.ask(
      "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: t\r\nOrigin: http://page\r\n"
      "Access-Control-Request-Method: POST\r\n\r\n");
  CHECK(preflight.status == 200);
  CHECK(preflight.fields.at("access-control-allow-origin") == "*");
  CHECK(preflight.fields.at("access-control-allow-methods").find("POST") != std::string::npos);
  CHECK(preflight.fields.at("access-control-allow-headers") == "*, Authorization");
  const http_answer refused = server.ask(get("/v1/models", "Origin: http://page\r\n"));
  CHECK(refused.status == 401);
  CHECK(refused.fields.at("access-control-allow-origin") == "*");
}

TEST_CASE("API keys guard what is not for probes") {
  http_fixture server({}, config_of_keys({"first-key", "second-key"}));
  server.answer_at_once();
  for (const char* path : {"/health", "/version", "/metrics"}) {
    CHECK(server.ask(get(path)).status == 200);
  }
  for (const char* field :
       {"", "Authorization: Bearer\r\n", "Authorization: Bearer wrong\r\n",
        "Authorization: Bearer first-ke\r\n", "Authorization: Bearer first-keyy\r\n",
        "Authorization: Basic first-key\r\n", "Authorization: first-key\r\n"}) {
    INFO(field);
    const http_answer answer = server.ask(get("/v1/models", field));
    CHECK(answer.status == 401);
    CHECK(json::parse(answer.body).contains("error"));
  }
  CHECK(server.ask(get("/v1/models", "Authorization: Bearer first-key\r\n")).status == 200);
  CHECK(server.ask(get("/v1/models", "authorization: bearer second-key\r\n")).status == 200);

  // Each key is a tenant.
  for (const char* key : {"first-key", "second-key", "first-key"}) {
    const auto field = std::string("Authorization: Bearer ") + key + "\r\n";
    CHECK(server.ask(post("/v1/completions", completion_body("x"), field)).status == 200);
  }
  const auto submits = server.engine.gateway.wait_for_submits(3);
  REQUIRE(submits.size() == 3);
  CHECK(submits[0].tenant != submits[1].tenant);
  CHECK(submits[0].tenant == submits[2].tenant);
}

TEST_CASE("a completion is submitted and collected") {
  http_fixture server;
  server.answer_at_once();
  const http_answer answer = server.ask(post("/v1/completions", completion_body("hello")));
  REQUIRE(answer.status == 200);
  const json reply = json::parse(answer.body);
  CHECK(reply.at("object") == "text_completion");
  CHECK(reply.at("model") == "tiny");
  CHECK(reply.at("id").get<std::string>().starts_with("cmpl-"));
  CHECK(reply.at("choices").size() == 1);
  CHECK(reply.at("choices").at(0).at("text") == "hello a b0");
  CHECK(reply.at("choices").at(0).at("finish_reason") == "length");
  CHECK(reply.at("usage").at("prompt_tokens") == 5);
  CHECK(reply.at("usage").at("completion_tokens") == 3);
  CHECK(reply.at("usage").at("total_tokens") == 8);

  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  CHECK(submits[0].client.port == 3);
  CHECK(submits[0].header.kind == message_kind::submit);
  CHECK(submits[0].header.service == lane::realtime);
  CHECK(submits[0].header.request_id == reply.at("id").get<std::string>() + "-0");
  CHECK(submits[0].tenant.empty());
  CHECK_FALSE(submits[0].resumable);
  CHECK(std::get<submit>(submits[0].body).max_tokens == 3);
}

TEST_CASE("a chat completion is submitted and collected") {
  http_fixture server;
  server.answer_at_once();
  const http_answer answer = server.ask(post("/v1/chat/completions", chat_body()));
  REQUIRE(answer.status == 200);
  const json reply = json::parse(answer.body);
  CHECK(reply.at("object") == "chat.completion");
  CHECK(reply.at("id").get<std::string>().starts_with("chatcmpl-"));
  CHECK(reply.at("choices").at(0).at("message").at("role") == "assistant");
  CHECK(reply.at("choices").at(0).at("message").at("content") == "chat a b0");
  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  CHECK(std::get<submit>(submits[0].body).messages_json.has_value());
}

TEST_CASE("several prompts and n become choices in order") {
  http_fixture server;
  server.answer_at_once();
  const json body{{"prompt", {"one", "two", "three"}}, {"n", 2}, {"max_tokens", 3}};
  const http_answer answer = server.ask(post("/v1/completions", body.dump()));
  REQUIRE(answer.status == 200);
  const json reply = json::parse(answer.body);
  const std::vector<std::string> expected{"one a b0", "one a b1",   "two a b0",
                                          "two a b1", "three a b0", "three a b1"};
  REQUIRE(reply.at("choices").size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(reply.at("choices").at(i).at("index") == i);
    CHECK(reply.at("choices").at(i).at("text") == expected[i]);
  }
  CHECK(reply.at("usage").at("prompt_tokens") == 15);
  CHECK(reply.at("usage").at("completion_tokens") == 18);
  std::set<std::string> ids;
  for (const auto& each : server.engine.gateway.wait_for_submits(3)) {
    ids.insert(each.header.request_id);
  }
  CHECK(ids.size() == 3);
}

TEST_CASE("an echo with logprobs begins with the prompt's first token") {
  http_fixture server;
  server.engine.gateway.on_submit = [&](const inbound_submit& request) {
    const auto reported = [](std::string token) {
      position_logprobs position;
      position.chosen.token = std::move(token);
      position.chosen.logprob = -1.0;
      return position;
    };
    outbound first = delta_of(request, 0, "ab c", "length");
    auto& part = std::get<delta>(first.body);
    part.prompt_logprobs = {reported("b")};
    part.logprobs = {reported(" c")};
    server.port->deliver({accepted_of(request), first, finished_of(request, 1)});
  };
  const json asked{{"echo", true}, {"logprobs", 0}, {"add_special_tokens", false}};
  const http_answer answer = server.ask(post("/v1/completions", completion_body("ab", asked)));
  REQUIRE(answer.status == 200);
  const json logprobs = json::parse(answer.body).at("choices").at(0).at("logprobs");
  submit prompt;
  prompt.prompt = "ab";
  prompt.add_special_tokens = false;
  const auto ids = *server.engine.prompts->tokenize(prompt, {});
  const std::string expected =
      server.engine.prompts->tokens().decode(std::span(ids).first(1), false);
  CHECK(logprobs.at("tokens") == json{expected, "b", " c"});
  CHECK(logprobs.at("token_logprobs") == json{nullptr, -1.0, -1.0});
}

TEST_CASE("the lane comes from the header or the body") {
  http_fixture server;
  server.answer_at_once();
  const auto ask = [&](const json& more, std::string_view fields) {
    return server.ask(post("/v1/completions", completion_body("x", more), fields)).status;
  };
  CHECK(ask(json::object(), "X-Troupe-Lane: vip\r\n") == 200);
  CHECK(ask({{"lane", "async"}, {"deadline_ms", 1500}}, "") == 200);
  CHECK(ask({{"lane", "vip"}}, "x-troupe-lane: vip\r\n") == 200);
  CHECK(ask(json::object(), "X-Troupe-Lane: express\r\n") == 400);
  CHECK(ask({{"lane", "express"}}, "") == 400);
  const auto submits = server.engine.gateway.wait_for_submits(3);
  REQUIRE(submits.size() == 3);
  CHECK(submits[0].header.service == lane::vip);
  CHECK(submits[1].header.service == lane::async);
  CHECK(submits[1].header.deadline_ms == 1500);
  CHECK(submits[2].header.service == lane::vip);
}

TEST_CASE("a lane in the header and another in the body is refused, with both named") {
  http_fixture server;
  server.answer_at_once();
  const http_answer answer = server.ask(
      post("/v1/completions", completion_body("x", {{"lane", "vip"}}), "X-Troupe-Lane: async\r\n"));
  CHECK(answer.status == 400);
  const json failure = json::parse(answer.body).at("error");
  CHECK(failure.at("reason") == "invalid_argument");
  CHECK_THAT(failure.at("message").get<std::string>(),
             Catch::Contains("X-Troupe-Lane says async") && Catch::Contains("in the body vip"));
  CHECK(server.engine.gateway.wait_for_submits(0).empty());
  CHECK(server.engine.measured.values().at("requests_refused_total") == 1.0);
}

TEST_CASE("bodies that make no sense are refused before the gateway") {
  http_fixture server;
  for (const char* body : {"", "{", "[]", "{\"prompt\": 5}", "{\"prompt\": \"x\", \"n\": \"two\"}",
                           "{\"prompt\": \"\xff\xfe\"}"}) {
    INFO(body);
    const http_answer answer = server.ask(post("/v1/completions", body));
    CHECK(answer.status == 400);
    CHECK(json::parse(answer.body).at("error").contains("message"));
  }
  CHECK(server.engine.measured.values().at("requests_refused_total") == 6.0);
}

TEST_CASE("what the gateway refuses keeps its meaning") {
  http_fixture server;
  server.engine.gateway.admit = [](std::size_t) -> result<void> {
    return error{errc::overloaded, "no credit left in lane realtime"};
  };
  const http_answer busy = server.ask(post("/v1/completions", completion_body("x")));
  CHECK(busy.status == 429);
  CHECK(busy.fields.at("retry-after") == "1");
  CHECK(json::parse(busy.body).at("error").at("message") == "no credit left in lane realtime");

  server.engine.gateway.admit = [](std::size_t) -> result<void> {
    return error{errc::unavailable, "draining"};
  };
  const http_answer gone =
      server.ask(post("/v1/completions", completion_body("x", {{"stream", true}})));
  CHECK(gone.status == 503);
  CHECK(gone.fields.at("retry-after") == "5");

  server.engine.gateway.admit = [](std::size_t) -> result<void> {
    return error{errc::deadline_unmeetable, "too late"};
  };
  const http_answer late = server.ask(post("/v1/completions", completion_body("x")));
  CHECK(late.status == 422);
  CHECK_FALSE(late.fields.contains("retry-after"));
  CHECK(json::parse(late.body).at("error").at("reason") == "deadline_unmeetable");
}

TEST_CASE("a refused prompt takes its siblings with it") {
  http_fixture server;
  server.engine.gateway.admit = [](std::size_t index) -> result<void> {
    if (index < 2) return {};
    return error{errc::overloaded, "full"};
  };
  const json body{{"prompt", {"one", "two", "three"}}};
  CHECK(server.ask(post("/v1/completions", body.dump())).status == 429);
  const auto submits = server.engine.gateway.wait_for_submits(2);
  const auto cancelled = server.engine.gateway.wait_for_cancelled(2);
  REQUIRE(submits.size() == 2);
  CHECK(cancelled == std::vector{submits[0].header.request_id, submits[1].header.request_id});
}

TEST_CASE("an error reply becomes a status, and the other prompts are cancelled") {
  http_fixture server;
  http_client client = server.connect();
  client.send(post("/v1/completions", json{{"prompt", {"one", "two"}}}.dump()));
  const auto submits = server.engine.gateway.wait_for_submits(2);
  REQUIRE(submits.size() == 2);
  server.deliver(error_of(submits[1], errc::invalid_argument, "temperature is -1"));
  const http_answer answer = client.read_answer();
  CHECK(answer.status == 400);
  CHECK(json::parse(answer.body).at("error").at("message") == "temperature is -1");
  CHECK(server.engine.gateway.wait_for_cancelled(1) == std::vector{submits[0].header.request_id});
  // What still comes of them is dropped; the connection goes on.
  server.deliver(error_of(submits[0], errc::aborted, "cancelled"));
  client.send(get("/health"));
  CHECK(client.read_answer().status == 200);
}

TEST_CASE("messages for nobody are dropped") {
  http_fixture server;
  inbound_submit unknown;
  unknown.client = {3, "http-999"};
  unknown.header.request_id = "cmpl-none-0";
  server.port->deliver(short_answer({.client = unknown.client,
                                     .header = unknown.header,
                                     .body = submit{},
                                     .tenant = {},
                                     .resumable = false}));
  CHECK(server.ask(get("/health")).status == 200);
}

TEST_CASE("tokenize and detokenize agree") {
  http_fixture server;
  const std::string text = "The quick brown fox.";
  const http_answer tokenized = server.ask(post("/tokenize", json{{"prompt", text}}.dump()));
  REQUIRE(tokenized.status == 200);
  const json reply = json::parse(tokenized.body);
  CHECK(reply.at("count") == reply.at("tokens").size());
  CHECK(reply.at("max_model_len") == 2048);

  const json plain{{"prompt", text}, {"add_special_tokens", false}};
  const json tokens = json::parse(server.ask(post("/tokenize", plain.dump())).body).at("tokens");
  const http_answer back = server.ask(post("/detokenize", json{{"tokens", tokens}}.dump()));
  REQUIRE(back.status == 200);
  CHECK(json::parse(back.body).at("prompt") == text);

  CHECK(server.ask(post("/detokenize", "{\"tokens\": [-1]}")).status == 400);
  CHECK(server.ask(post("/detokenize", "{\"tokens\": [99999999]}")).status == 400);
  CHECK(server.ask(post("/tokenize", "{}")).status == 400);
  // No chat template in this engine.
  const http_answer chat = server.ask(post("/tokenize", chat_body()));
  CHECK(chat.status >= 400);
  CHECK(json::parse(chat.body).contains("error"));
}

TEST_CASE("start refuses what it cannot or should not listen on") {
  http_fixture server;
  http_port_options options;
  options.port = server.port->local_port();
  const auto taken = http_port::start(options, server.engine.services());
  REQUIRE_FALSE(taken.has_value());
  CHECK(taken.failure().code == errc::unavailable);
  CHECK(taken.failure().message.find(std::to_string(options.port)) != std::string::npos);

  options.port = 0;
  options.host = "0.0.0.0";
  const auto open = http_port::start(options, server.engine.services());
  REQUIRE_FALSE(open.has_value());
  CHECK(open.failure().code == errc::invalid_argument);
  fake_engine keyed(config_of_keys({"key"}));
  CHECK(http_port::start(options, keyed.services()).has_value());
}

}  // namespace
}  // namespace troupe::test
