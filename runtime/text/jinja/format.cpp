// Python's format specifications ("{:>10.2f}") and str.format.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "config/limits.hpp"
#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/number_format.hpp"
#include "runtime/text/jinja/slicing.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {
namespace {

// One rendering of str.format: fields are numbered automatically or by hand, not both.
class brace_formatter {
 public:
  brace_formatter(interpreter& run, const arguments& args) : run_(run), args_(args) {}

  std::string format(std::string_view pattern, int depth) {
    if (depth > 2) throw failure{"Max string recursion exceeded"};
    std::string out;
    for (std::size_t i = 0; i < pattern.size();) {
      const char c = pattern[i];
      if (c != '{' && c != '}') {
        out += c;
        ++i;
        continue;
      }
      if (i + 1 < pattern.size() && pattern[i + 1] == c) {
        out += c;
        i += 2;
        continue;
      }
      if (c == '}') throw failure{"Single '}' encountered in format string"};
      out += field(inside(pattern, i), depth);
      run_.charge_string(out.size());
    }
    return out;
  }

 private:
  // The text between the braces at i, which may nest; moves i behind them.
  static std::string_view inside(std::string_view pattern, std::size_t& i) {
    const std::size_t start = ++i;
    for (int open = 1; i < pattern.size(); ++i) {
      if (pattern[i] == '{') ++open;
      if (pattern[i] == '}' && --open == 0) return pattern.substr(start, i++ - start);
    }
    throw failure{"expected '}' before end of string"};
  }

  std::string field(std::string_view text, int depth) {
    const std::size_t name_end = std::min(text.find_first_of("!:"), text.size());
    std::string_view rest = text.substr(name_end);
    char conversion = 0;
    if (rest.starts_with('!')) {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':'))
        throw failure{"expected ':' after conversion specifier"};
      conversion = rest[1];
      rest.remove_prefix(2);
    }
    value item = look_up(text.substr(0, name_end));
    if (conversion == 'r') item = value(representation(item));
    if (conversion == 's') item = value(to_text(item));
    if (conversion != 0 && conversion != 'r' && conversion != 's')
      throw failure{"Unknown conversion specifier in a format string"};
    const std::string spec = rest.empty() ? std::string() : format(rest.substr(1), depth + 1);
    return format_value(run_, item, spec);
  }

  value look_up(std::string_view path) {
    const std::size_t first_end = std::min(path.find_first_of(".["), path.size());
    value item = argument(path.substr(0, first_end));
    std::string_view rest = path.substr(first_end);
    while (!rest.empty()) {
      const bool is_attribute = rest[0] == '.';
      const std::size_t end =
          is_attribute ? std::min(rest.find_first_of(".[", 1), rest.size()) : rest.find(']');
      if ((!is_attribute && rest[0] != '[') || end == std::string_view::npos)
        throw failure{"Only '.' or '[' may follow ']' in format field specifier"};
      const std::string_view key = rest.substr(1, end - 1);
      if (key.empty()) throw failure{"Empty attribute in format string"};
      if (is_attribute) {
        item = run_.attribute(item, key);
      } else {
        const auto index = number(key);
        item = run_.item(item, index ? value(*index) : value(std::string(key)));
      }
      rest.remove_prefix(is_attribute ? end : end + 1);
    }
    return item;
  }

  static std::optional<std::int64_t> number(std::string_view text) {
    if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos)
      return std::nullopt;
    return parse_integer(text, 10);
  }

  value argument(std::string_view name) {
    auto index = number(name);
    if (name.empty()) {
      if (is_manual_) throw failure{"cannot switch from manual field specification to automatic"};
      index = next_++;
    } else if (index) {
      if (next_ > 0) throw failure{"cannot switch from automatic field numbering to manual"};
      is_manual_ = true;
    }
    if (index) {
      if (static_cast<std::size_t>(*index) >= args_.positional.size())
        throw failure{"Replacement index " + std::to_string(*index) + " out of range"};
      return args_.positional[static_cast<std::size_t>(*index)];
    }
    for (const auto& [known, item] : args_.keyword)
      if (known == name) return item;
    throw failure{"'" + std::string(name) + "' is missing in a format"};
  }

  interpreter& run_;
  const arguments& args_;
  std::int64_t next_ = 0;
  bool is_manual_ = false;
};

}  // namespace

value format_braces(interpreter& run, const value& pattern, const arguments& args) {
  return run.make_text(brace_formatter(run, args).format(pattern.bytes(), 1),
                       pattern.string().is_markup);
}

std::string format_value(interpreter& run, const value& item, std::string_view spec_text) {
  run.charge_steps(item.weight());
  if (spec_text.empty()) return to_text(item);
  const format_spec spec = parse_format_spec(spec_text);
  run.charge_string(static_cast<std::size_t>(std::max<std::int64_t>(spec.width, 0)) +
                    static_cast<std::size_t>(std::max<std::int64_t>(spec.precision, 0)));
  if (item.is(kind::string)) return format_text(spec, item.string());
  if (item.is(kind::boolean) && spec.type == 0)
    return format_text(spec, text{to_text(item), to_text(item).size(), false});
  if (item.is_number()) return format_number(spec, item);
  if (item.is(kind::undefined)) throw failure{item.undefined_message()};
  throw failure{"unsupported format string passed to " + std::string(item.type_name()) +
                ".__format__"};
}

}  // namespace troupe::jinja
