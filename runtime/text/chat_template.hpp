// Chat templates: the Jinja text that a model file carries, rendered exactly as the Python library
// transformers renders it in apply_chat_template. The template is not trusted: it reads no files,
// reaches no other objects, and its steps, memory, recursion and output are bounded (limits.hpp).
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "kernels/base/result.hpp"

namespace troupe {

class chat_template {
 public:
  /// Ordered, because templates print objects in the order of their keys.
  using json = nlohmann::ordered_json;

  struct inputs {
    json messages;                      ///< an array of objects with "role" and "content"
    json tools;                         ///< null, or an array of JSON schemas of functions
    bool add_generation_prompt = true;  ///< end with the opening of the assistant's turn
    std::string bos_token;              ///< empty: the model has none, so it stays undefined
    std::string eos_token;
    json extra;  ///< null, or an object of more variables: enable_thinking, documents ...
    std::chrono::sys_seconds now{};  ///< what strftime_now() shows, in UTC
  };

  /// Errors: unsupported for tags, filters and tests that this build does not know, and for broken
  /// syntax; always with the line.
  static result<chat_template> parse(std::string source);

  /// Errors: invalid_argument with the template's own message (raise_exception), for messages that
  /// it cannot work with, and for templates that exceed a limit. Safe to call from many threads.
  [[nodiscard]] result<std::string> render(const inputs& values) const;

 private:
  struct tree;
  explicit chat_template(std::shared_ptr<const tree> root) : root_(std::move(root)) {}
  std::shared_ptr<const tree> root_;
};

}  // namespace troupe
