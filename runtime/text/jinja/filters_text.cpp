// Filters on text.
#include <algorithm>

#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/slicing.hpp"
#include "runtime/text/jinja/text_operations.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\'': out += "&#39;"; break;
      case '"': out += "&#34;"; break;
      default: out += c;
    }
  }
  return out;
}

namespace filters {
namespace {

// Strings stay as they are, markup included; everything else becomes its str().
value soft_text(interpreter& run, const value& operand) {
  if (operand.is(kind::string)) return operand;
  run.charge_steps(operand.weight());
  return run.make_text(to_text(operand));
}

value mapped(interpreter& run, const value& operand, std::string (*change)(std::string_view)) {
  const value text = soft_text(run, operand);
  return run.make_text(change(text.bytes()), text.string().is_markup);
}

// Words start behind spaces, hyphens and opening brackets.
std::string title_words(std::string_view text) {
  std::string out;
  std::size_t word_start = 0;
  const auto flush = [&](std::size_t end) {
    const std::string_view word = text.substr(word_start, end - word_start);
    if (word.empty()) return;
    std::size_t after = 0;
    (void)next_code_point(word, after);
    out += jinja::to_upper(word.substr(0, after));
    out += to_lower(word.substr(after));
  };
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    const char32_t c = next_code_point(text, i);
    if (!is_space(c) && c != U'-' && c != U'(' && c != U'{' && c != U'[' && c != U'<') continue;
    flush(start);
    out += text.substr(start, i - start);
    word_start = i;
  }
  flush(text.size());
  return out;
}

}  // namespace

value capitalize(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("capitalize", std::move(args), {});
  return mapped(run, operand, jinja::capitalize);
}

value lower(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("lower", std::move(args), {});
  return mapped(run, operand, to_lower);
}

value upper(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("upper", std::move(args), {});
  return mapped(run, operand, to_upper);
}

value title(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("title", std::move(args), {});
  const value text = soft_text(run, operand);
  return run.make_text(title_words(text.bytes()));
}

value center(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("center", std::move(args), {{"width"}});
  arguments width;
  width.positional.emplace_back(bound.integer(0, 80));
  return run.call(*find_string_method(soft_text(run, operand), "center"), std::move(width));
}

value escape(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("escape", std::move(args), {});
  if (operand.is(kind::string) && operand.string().is_markup) return operand;
  const value text = soft_text(run, operand);
  run.charge_string(6 * text.bytes().size());
  return value(escape_html(text.bytes()), true);
}

value safe(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("safe", std::move(args), {});
  return run.make_text(soft_text(run, operand).string().bytes, true);
}

value string(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("string", std::move(args), {});
  return soft_text(run, operand);
}

value format(interpreter& run, const value& operand, arguments args) {
  if (!args.positional.empty() && !args.keyword.empty())
    throw failure{"can't handle positional and keyword arguments at the same time"};
  const value pattern = soft_text(run, operand);
  if (args.keyword.empty())
    return format_percent(run, pattern, value::tuple(std::move(args.positional)));
  dictionary named;
  for (auto& [name, item] : args.keyword) named.insert(value(name), std::move(item));
  return format_percent(run, pattern, value::dict(std::move(named)));
}

value indent(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("indent", std::move(args), {{"width"}, {"first"}, {"blank"}});
  if (operand.is(kind::undefined)) throw failure{operand.undefined_message()};
  if (!operand.is(kind::string))
    throw failure{"indent needs a string, not " + std::string(operand.type_name())};
  std::string pad;
  if (bound.at(0).is(kind::string)) {
    pad = bound.at(0).string().bytes;
  } else {
    const auto width = std::max<std::int64_t>(0, bound.integer(0, 4));
    run.charge_string(static_cast<std::size_t>(width));
    pad.assign(static_cast<std::size_t>(width), ' ');
  }
  const auto lines = split_lines(operand.string().bytes + "\n", false);
  run.charge_string(operand.bytes().size() + (pad.size() + 1) * lines.size());
  const bool pads_blank = bound.truthy(2, false);
  std::string out = bound.truthy(1, false) ? pad : std::string();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (pads_blank || !lines[i].empty())) out += pad;
    out += lines[i];
  }
  return value(std::move(out), operand.string().is_markup);
}

value join(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("join", std::move(args), {{"d"}, {"attribute"}});
  const std::string separator = bound.has(0) ? to_text(bound.at(0)) : std::string();
  std::string out;
  bool is_first = true;
  for (const value& element : run.elements(operand)) {
    const value item = bound.is_none(1) ? element : run.item_path(element, bound.at(1));
    run.charge_steps(item.weight());
    const std::string part = to_text(item);
    run.charge_bytes(separator.size() + part.size());
    if (!is_first) out += separator;
    is_first = false;
    out += part;
  }
  return run.make_text(std::move(out));
}

value replace(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("replace", std::move(args),
                              {{"old", true}, {"new", true}, {"count"}});
  const std::string source = to_text(operand);
  const std::string wanted = to_text(bound.at(0));
  const std::string replacement = to_text(bound.at(1));
  const std::int64_t limit = bound.is_none(2) ? -1 : bound.integer(2, -1);
  run.charge_string(source.size() + count_occurrences(source, wanted) * replacement.size());
  return value(replace_text(source, wanted, replacement, limit));
}

value trim(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("trim", std::move(args), {{"chars"}});
  const value text = soft_text(run, operand);
  const auto chars = bound.is_none(0) ? std::nullopt : std::optional(bound.string(0));
  return run.make_text(std::string(strip(text.bytes(), chars, true, true)),
                       text.string().is_markup);
}

value truncate(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("truncate", std::move(args),
                              {{"length"}, {"killwords"}, {"end"}, {"leeway"}});
  const value end = bound.has(2) ? bound.at(2) : value(std::string("..."));
  if (!end.is(kind::string)) throw failure{"truncate needs a string to end with"};
  const std::int64_t length = bound.integer(0, 255);
  const std::int64_t leeway = bound.is_none(3) ? 5 : bound.integer(3, 5);
  const auto end_length = static_cast<std::int64_t>(end.string().length);
  if (length < end_length || leeway < 0) throw failure{"truncate has a length that is too small"};
  const std::int64_t total = filters::length(run, operand, {}).integer();
  if (total - leeway <= length) return operand;
  if (!operand.is(kind::string))
    throw failure{"truncate needs a string, not " + std::string(operand.type_name())};
  std::string kept(text_range(operand.string(), 0, static_cast<std::size_t>(length - end_length)));
  if (!bound.truthy(1, false)) kept = split_on_right(kept, " ", 1).front();
  return run.make_text(kept + end.string().bytes);
}

value wordcount(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("wordcount", std::move(args), {});
  const value text = soft_text(run, operand);
  std::int64_t count = 0;
  bool in_word = false;
  for (std::size_t i = 0; i < text.bytes().size();) {
    const char32_t c = next_code_point(text.bytes(), i);
    const bool is_word = c == U'_' || is_alphabetic(c) || is_numeric(c);
    count += is_word && !in_word;
    in_word = is_word;
  }
  return value(count);
}

value to_json_filter(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("tojson", std::move(args),
                              {{"ensure_ascii"}, {"indent"}, {"separators"}, {"sort_keys"}});
  json_options options;
  options.ensure_ascii = bound.truthy(0, false);
  options.sort_keys = bound.truthy(3, false);
  if (bound.at(1).is(kind::string)) {
    options.indent = bound.at(1).string().bytes;
  } else if (!bound.is_none(1)) {
    const auto width = std::max<std::int64_t>(0, bound.integer(1, 0));
    run.charge_string(static_cast<std::size_t>(width));
    options.indent = std::string(static_cast<std::size_t>(width), ' ');
  }
  if (options.indent) options.item_separator = ",";
  if (!bound.is_none(2)) {
    const std::vector<value> pair = run.elements(bound.at(2));
    if (pair.size() != 2 || !pair[0].is(kind::string) || !pair[1].is(kind::string))
      throw failure{"separators must be two strings"};
    options.item_separator = pair[0].string().bytes;
    options.key_separator = pair[1].string().bytes;
  }
  run.charge_steps(operand.weight());
  return run.make_text(to_json(operand, options));
}

}  // namespace filters
}  // namespace troupe::jinja
