// Troupe inside an application. First as a library that generates text; then with an actor of the
// application's own, which receives what a request says as messages in its mailbox.
//
//   embedded MODEL.gguf [PROMPT]
#include <iostream>

#include <caf/all.hpp>
#include <troupe.hpp>

namespace {

void generate_text(troupe::embedded_engine& engine, const std::string& prompt) {
  troupe::submit request;
  request.prompt = prompt;
  request.max_tokens = 24;
  request.temperature = 0;
  auto answer = engine.generate(request).value();
  std::cout << prompt;
  while (auto part = answer.next()) std::cout << part->text << std::flush;
  if (!answer.outcome()) throw std::runtime_error(answer.outcome().failure().message);
  std::cout << "\n[" << answer.outcome()->completion_tokens << " tokens]\n";
}

/// Counts what it hears, and ends with its request.
caf::behavior listening(caf::event_based_actor* self) {
  return {[self](const troupe::generation_event& event) {
    if (const auto* part = std::get_if<troupe::delta>(&event.body))
      std::cout << event.request_id << " #" << event.offset << ": \"" << part->text << "\"\n";
    if (const auto* failure = std::get_if<troupe::error_reply>(&event.body))
      std::cout << event.request_id << " failed: " << failure->message << "\n";
    if (std::holds_alternative<troupe::finished>(event.body) ||
        std::holds_alternative<troupe::error_reply>(event.body)) {
      std::cout << event.request_id << " has ended\n";
      self->quit();
    }
  }};
}

void generate_to_an_actor(troupe::embedded_engine& engine, const std::string& prompt) {
  const caf::actor listener = engine.system().spawn(listening);
  troupe::submit request;
  request.prompt = prompt;
  request.max_tokens = 8;
  engine.generate_to(listener, "my-request", request, troupe::lane::vip).value();
  caf::scoped_actor self(engine.system());
  self->wait_for(listener);
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count < 2) {
    std::cerr << "usage: embedded MODEL.gguf [PROMPT]\n";
    return 2;
  }
  const std::string prompt = argument_count > 2 ? arguments[2] : "The capital of France is";
  troupe::server_config config;
  config.model = arguments[1];
  config.max_model_len = 256;
  auto engine = troupe::embedded_engine::open(config);
  if (!engine) {
    std::cerr << engine.failure().message << "\n";
    return 1;
  }
  generate_text(*engine, prompt);
  generate_to_an_actor(*engine, prompt);
}
