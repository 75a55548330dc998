// Renders chat templates for the Python oracle: a line of JSON {"template": ..., "inputs": {...}}
// on stdin gives a line {"text": ...} or {"error": ..., "at": "load" or "render"} on stdout.
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "runtime/text/chat_template.hpp"

namespace {

using json = nlohmann::ordered_json;

json render(const json& job) {
  auto parsed = troupe::chat_template::parse(job.at("template").get<std::string>());
  if (!parsed) return {{"error", parsed.failure().message}, {"at", "load"}};
  const json& given = job.at("inputs");
  troupe::chat_template::inputs inputs;
  inputs.messages = given.value("messages", json::array());
  inputs.tools = given.value("tools", json());
  inputs.add_generation_prompt = given.value("add_generation_prompt", true);
  inputs.bos_token = given.value("bos_token", std::string());
  inputs.eos_token = given.value("eos_token", std::string());
  inputs.extra = given.value("extra", json());
  inputs.now = std::chrono::sys_seconds(std::chrono::seconds(given.value("now", 0)));
  auto text = parsed->render(inputs);
  if (!text) return {{"error", text.failure().message}, {"at", "render"}};
  return {{"text", *text}};
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    json answer;
    try {
      answer = render(json::parse(line));
    } catch (const json::exception& problem) {
      answer = {{"error", problem.what()}, {"at", "input"}};
    }
    std::cout << answer.dump() << std::endl;
  }
}
