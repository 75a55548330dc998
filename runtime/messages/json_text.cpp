// nlohmann's parser is the one judge of syntax; its exceptions end here.
#include "runtime/messages/json_text.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/messages/text_check.hpp"

namespace troupe {
namespace {

error too_much(std::string_view what, std::size_t bound) {
  return {errc::invalid_argument, fmt::format("the JSON has more than {} {}", bound, what)};
}

class bounds_scan {
 public:
  result<void> run(std::string_view text) {
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (in_string) {
        if (c == '\\') ++i;
        if (c == '"') in_string = false;
        continue;
      }
      if (c == '"') in_string = true;
      TROUPE_TRY_VOID(take(c));
    }
    return {};
  }

 private:
  result<void> take(char c) {
    switch (c) {
      case '[':
      case '{':
        if (depth_ == limits::payload_depth_max) {
          return too_much("levels of nesting", limits::payload_depth_max);
        }
        keys_here_[depth_++] = 0;
        ++elements_;
        break;
      case ']':
      case '}':
        if (depth_ > 0) --depth_;
        break;
      case ':':
        if (depth_ > 0 && ++keys_here_[depth_ - 1] > limits::map_keys_max) {
          return too_much("keys in one object", limits::map_keys_max);
        }
        if (++keys_ > limits::payload_keys_max) return too_much("keys", limits::payload_keys_max);
        ++elements_;
        break;
      case ',': ++elements_; break;
      default: break;
    }
    if (elements_ > limits::payload_elements_max) {
      return too_much("values", limits::payload_elements_max);
    }
    return {};
  }

  std::array<std::size_t, limits::payload_depth_max> keys_here_{};
  std::size_t depth_ = 0;
  std::size_t keys_ = 0;
  std::size_t elements_ = 0;
};

// nlohmann prefixes its own error code: "[json.exception.parse_error.101] parse error at line 1,
// ...".
std::string_view without_prefix(std::string_view what) {
  const std::size_t end = what.find("] ");
  return end == std::string_view::npos ? what : what.substr(end + 2);
}

template <class Number>
void append_chars(std::string& out, Number value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  out.append(text.data(), end);
}

}  // namespace

result<void> check_json_bounds(std::string_view text) {
  if (text.size() > limits::payload_bytes_max) {
    return error{errc::invalid_argument,
                 fmt::format("the JSON has {} bytes; at most {} are accepted", text.size(),
                             limits::payload_bytes_max)};
  }
  return bounds_scan{}.run(text);
}

result<nlohmann::ordered_json> parse_json(std::string_view text) {
  TROUPE_TRY_VOID(check_json_bounds(text));
  if (!is_utf8(text)) return error{errc::invalid_argument, "the JSON is not valid UTF-8"};
  try {
    return nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::json::exception& failure) {
    return error{errc::invalid_argument,
                 fmt::format("malformed JSON: {}", without_prefix(failure.what()))};
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text.front());
    const std::size_t bytes = utf8_character_bytes(text);
    if (bytes != 1) {
      out += bytes == 0 ? std::string_view{"\xEF\xBF\xBD"} : text.substr(0, bytes);
      text.remove_prefix(bytes == 0 ? 1 : bytes);
      continue;
    }
    text.remove_prefix(1);
    switch (byte) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (byte < 0x20) {
          out += "\\u00";
          out += "0123456789abcdef"[byte >> 4];
          out += "0123456789abcdef"[byte & 15];
        } else {
          out += static_cast<char>(byte);
        }
    }
  }
  out += '"';
}

void append_json_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  const std::size_t first = out.size();
  append_chars(out, value);
  // Keep it a float to readers that tell 1 from 1.0.
  if (out.find_first_of(".e", first) == std::string::npos) out += ".0";
}

void append_json_number(std::string& out, std::int64_t value) {
  append_chars(out, value);
}
void append_json_number(std::string& out, std::uint64_t value) {
  append_chars(out, value);
}

}  // namespace troupe
