// The chat parts of a body: messages and tools, brought into the one form that chat templates read.
#pragma once

#include <string>

#include "runtime/messages/openai_body.hpp"
#include "runtime/messages/request.hpp"

namespace troupe {

/// Fills messages_json, tools_json, chat_template_kwargs_json and add_generation_prompt. Content
/// given as parts becomes one text, parts joined by a line feed as vLLM does; parts that are not
/// text are unsupported.
void read_openai_chat(openai_body& body, submit& out);

}  // namespace troupe
