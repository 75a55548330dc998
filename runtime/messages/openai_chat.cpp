// Messages are checked only as far as a template relies on: maps with a role, content that is text.
#include "runtime/messages/openai_chat.hpp"

#include <fmt/format.h>

namespace troupe {
namespace {

using json = nlohmann::ordered_json;

// One part of a content array: bare text or {"type": "text", "text": ...}.
const std::string* text_of_part(const json& part) {
  if (part.is_string()) return &part.get_ref<const std::string&>();
  if (!part.is_object()) return nullptr;
  const auto type = part.find("type");
  const auto text = part.find("text");
  const bool is_text = type == part.end() || *type == "text" || *type == "input_text";
  if (!is_text || text == part.end() || !text->is_string()) return nullptr;
  return &text->get_ref<const std::string&>();
}

void flatten_content(openai_body& body, json& message, std::size_t index) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) {
    message["content"] = "";  // calls of tools say nothing; templates expect text
    return;
  }
  if (content->is_string()) return;
  if (!content->is_array()) {
    return body.fail(
        fmt::format("`messages[{}].content` must be a string or an array of parts, not {}", index,
                    json_type_name(*content)));
  }
  std::string joined;
  bool first = true;
  for (const json& part : *content) {
    const std::string* text = text_of_part(part);
    if (text == nullptr) {
      return body.fail({errc::unsupported,
                        fmt::format("`messages[{}].content` has a part that is not text; only text "
                                    "parts are supported",
                                    index)});
    }
    if (!first) joined += '\n';
    first = false;
    joined += *text;
  }
  *content = std::move(joined);
}

void read_messages(openai_body& body, submit& out) {
  const json* given = body.find("messages");
  if (given == nullptr) return body.fail("`messages` is required");
  if (!given->is_array() || given->empty()) {
    return body.fail("`messages` must be an array of at least one message");
  }
  json messages = *given;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    json& message = messages[i];
    if (!message.is_object()) {
      return body.fail(
          fmt::format("`messages[{}]` must be an object, not {}", i, json_type_name(message)));
    }
    const auto role = message.find("role");
    if (role == message.end() || !role->is_string()) {
      return body.fail(fmt::format("`messages[{}].role` must be a string", i));
    }
    flatten_content(body, message, i);
  }
  if (!body.failed()) out.messages_json = messages.dump();
}

void read_tools(openai_body& body, submit& out) {
  const json* choice = body.find("tool_choice");
  if (choice != nullptr && *choice != "none" && *choice != "auto") {
    return body.fail(
        {errc::unsupported,
         "`tool_choice` must be \"none\" or \"auto\": forced calls are not supported"});
  }
  const json* tools = body.find("tools");
  if (tools == nullptr) return;
  if (!tools->is_array()) {
    return body.fail(fmt::format("`tools` must be an array, not {}", json_type_name(*tools)));
  }
  for (std::size_t i = 0; i < tools->size(); ++i) {
    if (!(*tools)[i].is_object()) {
      return body.fail(
          fmt::format("`tools[{}]` must be an object, not {}", i, json_type_name((*tools)[i])));
    }
  }
  if (!tools->empty()) out.tools_json = tools->dump();
}

}  // namespace

void read_openai_chat(openai_body& body, submit& out) {
  read_messages(body, out);
  read_tools(body, out);
  if (const json* kwargs = body.find("chat_template_kwargs")) {
    if (!kwargs->is_object()) {
      return body.fail(
          fmt::format("`chat_template_kwargs` must be an object, not {}", json_type_name(*kwargs)));
    }
    out.chat_template_kwargs_json = kwargs->dump();
  }
  body.read("add_generation_prompt", out.add_generation_prompt);
  body.refuse("continue_final_message");
  body.refuse("chat_template", "is not supported: the model's own template is used");
}

}  // namespace troupe
