// The one place where the interpreter's exceptions become error values.
#include "runtime/text/chat_template.hpp"

#include <array>
#include <string_view>
#include <utility>

#include "config/limits.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/lexer.hpp"
#include "runtime/text/jinja/parser.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe {

struct chat_template::tree {
  jinja::block body;
};

namespace {

using json = chat_template::json;

error to_error(errc code, const jinja::failure& problem) {
  std::string message = "chat template";
  if (problem.line > 0) message += ", line " + std::to_string(problem.line);
  return {code, message + ": " + problem.message};
}

// transformers passes a message's reasoning under every name that templates read it by.
json with_reasoning_names(const json& message) {
  constexpr std::array<const char*, 3> names = {"reasoning_content", "thinking", "reasoning"};
  const json* reasoning = nullptr;
  for (const char* name : names) {
    const auto found = message.find(name);
    if (reasoning == nullptr && found != message.end() && !found->is_null()) reasoning = &*found;
  }
  if (reasoning == nullptr) return message;
  json aliased = json::object();
  aliased["thinking"] = *reasoning;
  for (const auto& [key, item] : message.items()) aliased[key] = item;
  aliased["reasoning_content"] = *reasoning;
  return aliased;
}

jinja::interpreter::variables make_variables(const chat_template::inputs& values) {
  jinja::interpreter::variables context;
  json messages = json::array();
  for (const json& message : values.messages) {
    if (!message.is_object()) throw jinja::failure{"every message must be an object"};
    messages.push_back(with_reasoning_names(message));
  }
  context["messages"] = jinja::value::from_json(messages);
  context["tools"] = jinja::value::from_json(values.tools);
  context["documents"] = jinja::value();
  context["add_generation_prompt"] = jinja::value(values.add_generation_prompt);
  if (!values.bos_token.empty()) context["bos_token"] = jinja::value(values.bos_token);
  if (!values.eos_token.empty()) context["eos_token"] = jinja::value(values.eos_token);
  if (values.extra.is_object())
    for (const auto& [key, item] : values.extra.items())
      context[key] = jinja::value::from_json(item);
  return context;
}

}  // namespace

result<chat_template> chat_template::parse(std::string source) {
  if (source.size() > limits::template_source_bytes_max)
    return error{errc::unsupported, "chat template: its source is longer than " +
                                        std::to_string(limits::template_source_bytes_max) +
                                        " bytes"};
  if (!jinja::is_valid_utf8(source))
    return error{errc::unsupported, "chat template: its source is not UTF-8"};
  try {
    auto made = std::make_shared<tree>();
    made->body = jinja::parser(jinja::tokenize(source)).parse();
    return chat_template(std::move(made));
  } catch (const jinja::failure& problem) {
    return to_error(errc::unsupported, problem);
  }
}

result<std::string> chat_template::render(const inputs& values) const {
  if (!values.messages.is_array())
    return error{errc::invalid_argument, "chat template: messages must be an array"};
  if (!values.tools.is_null() && !values.tools.is_array())
    return error{errc::invalid_argument, "chat template: tools must be null or an array"};
  try {
    return jinja::interpreter(make_variables(values), values.now).render(root_->body);
  } catch (const jinja::failure& problem) {
    return to_error(errc::invalid_argument, problem);
  }
}

}  // namespace troupe
