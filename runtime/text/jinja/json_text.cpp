// Python's json.dumps, as the |tojson of transformers calls it: no HTML escaping, ", " and ": ".
#include <algorithm>
#include <cmath>

#include "config/limits.hpp"
#include "runtime/text/jinja/unicode.hpp"
#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {
namespace {

class json_writer {
 public:
  explicit json_writer(const json_options& options) : options_(options) {}

  void write(const value& item, int level) {
    if (out_.size() > limits::template_string_bytes_max)
      throw failure{"a JSON text grows too large"};
    switch (item.type()) {
      case kind::none: out_ += "null"; return;
      case kind::boolean: out_ += item.boolean() ? "true" : "false"; return;
      case kind::integer: out_ += std::to_string(item.integer()); return;
      case kind::floating: out_ += number_text(item.number()); return;
      case kind::string: write_string(item.bytes()); return;
      case kind::list:
      case kind::tuple: write_list(item.elements().items, level); return;
      case kind::dict: write_dict(item.entries(), level); return;
      case kind::undefined:
      case kind::object: break;
    }
    throw failure{"Object of type " + std::string(item.type_name()) + " is not JSON serializable"};
  }

  std::string take() { return std::move(out_); }

 private:
  static std::string number_text(double number) {
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
    return float_text(number);
  }

  void write_escape(char32_t unit) {
    constexpr std::string_view hex = "0123456789abcdef";
    out_ += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out_ += hex[(unit >> shift) & 0xFu];
  }

  void write_string(std::string_view bytes) {
    out_ += '"';
    for (std::size_t i = 0; i < bytes.size();) {
      const char32_t c = next_code_point(bytes, i);
      switch (c) {
        case U'"': out_ += "\\\""; continue;
        case U'\\': out_ += "\\\\"; continue;
        case U'\n': out_ += "\\n"; continue;
        case U'\r': out_ += "\\r"; continue;
        case U'\t': out_ += "\\t"; continue;
        case U'\f': out_ += "\\f"; continue;
        case U'\b': out_ += "\\b"; continue;
        default: break;
      }
      if (c < 0x20 || (options_.ensure_ascii && c >= 0x7F && c < 0x10000)) {
        write_escape(c);
      } else if (options_.ensure_ascii && c >= 0x10000) {
        write_escape(0xD800 + ((c - 0x10000) >> 10));
        write_escape(0xDC00 + ((c - 0x10000) & 0x3FFu));
      } else {
        append_utf8(out_, c);
      }
    }
    out_ += '"';
  }

  void break_line(int level) {
    if (!options_.indent) return;
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += *options_.indent;
  }

  void write_list(const std::vector<value>& items, int level) {
    if (items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += options_.item_separator;
      break_line(level + 1);
      write(items[i], level + 1);
    }
    break_line(level);
    out_ += ']';
  }

  static std::string key_text(const value& key) {
    switch (key.type()) {
      case kind::string: return key.string().bytes;
      case kind::none: return "null";
      case kind::boolean: return key.boolean() ? "true" : "false";
      case kind::integer: return std::to_string(key.integer());
      case kind::floating: return number_text(key.number());
      default: break;
    }
    throw failure{"keys must be str, int, float, bool or None, not " +
                  std::string(key.type_name())};
  }

  void write_dict(const dictionary& entries, int level) {
    if (entries.size() == 0) {
      out_ += "{}";
      return;
    }
    std::vector<const dictionary::entry*> rows;
    for (const auto& entry : entries.entries()) rows.push_back(&entry);
    if (options_.sort_keys) {
      std::stable_sort(rows.begin(), rows.end(), [](const auto* a, const auto* b) {
        return order(a->first, b->first, "<") == -1;
      });
    }
    out_ += '{';
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (i > 0) out_ += options_.item_separator;
      break_line(level + 1);
      write_string(key_text(rows[i]->first));
      out_ += options_.key_separator;
      write(rows[i]->second, level + 1);
    }
    break_line(level);
    out_ += '}';
  }

  const json_options& options_;
  std::string out_;
};

}  // namespace

std::string to_json(const value& item, const json_options& options) {
  json_writer writer(options);
  writer.write(item, 0);
  return writer.take();
}

}  // namespace troupe::jinja
