// An HTTP port on a free port of loopback, over a fake engine.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "actors/gateway/http_port.hpp"
#include "tests/actors/fake_engine.hpp"
#include "tests/actors/http_client.hpp"

namespace troupe::test {

using nlohmann::json;

struct http_fixture {
  fake_engine engine;
  std::unique_ptr<http_port> port;

  explicit http_fixture(http_port_options options = {}, const server_config& config = {})
      : engine(config) {
    options.port = 0;
    if (options.version.empty()) options.version = "1.2.3";
    auto started = http_port::start(options, engine.services());
    TROUPE_CHECK_MESSAGE(started.has_value(), started.failure().message);
    port = *std::move(started);
  }
  [[nodiscard]] http_client connect(int receive_buffer_bytes = 0) const {
    return http_client(port->local_port(), receive_buffer_bytes);
  }
  /// One request on a connection of its own.
  [[nodiscard]] http_answer ask(std::string_view request, bool head_only = false) const {
    http_client client = connect();
    client.send(request);
    return client.read_answer(head_only);
  }
  /// Every submit is answered at once, from the thread that submits.
  void answer_at_once() {
    engine.gateway.on_submit = [this](const inbound_submit& request) {
      port->deliver(short_answer(request));
    };
  }
  void deliver(outbound message) {
    std::vector<outbound> burst;
    burst.push_back(std::move(message));
    port->deliver(std::move(burst));
  }
};

inline std::string completion_body(std::string_view prompt, const json& more = json::object()) {
  json body{{"model", "tiny"}, {"prompt", prompt}, {"max_tokens", 3}};
  body.update(more);
  return body.dump();
}

inline std::string chat_body(const json& more = json::object()) {
  json body{{"model", "tiny"}, {"messages", {{{"role", "user"}, {"content", "hi"}}}}};
  body.update(more);
  return body.dump();
}

/// The JSON of each `data:` event but the last, which must be [DONE].
inline std::vector<json> events_of(std::string_view body, bool ends_with_done = true) {
  std::vector<json> events;
  bool is_done = false;
  while (!body.empty()) {
    const std::size_t end = body.find("\n\n");
    TROUPE_CHECK(end != body.npos && body.starts_with("data: ") && !is_done);
    const std::string_view data = body.substr(6, end - 6);
    is_done = data == "[DONE]";
    if (!is_done) events.push_back(json::parse(data));
    body.remove_prefix(end + 2);
  }
  TROUPE_CHECK(is_done == ends_with_done);
  return events;
}

}  // namespace troupe::test
