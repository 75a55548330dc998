#include "bench/serve/completion_stream.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/limits.hpp"
#include "runtime/messages/json_text.hpp"

namespace troupe::bench {
namespace {

using nlohmann::json;

constexpr std::string_view blanks = " \t\r\n";

/// Whether the event has a non-empty array of choices, without parsing it: inside a JSON string no
/// quote stands without a backslash, so that the key's text is the key.
bool has_choices(std::string_view data) {
  constexpr std::string_view key = "\"choices\"";
  const std::size_t found = data.find(key);
  if (found == std::string_view::npos) return false;
  std::size_t at = data.find_first_not_of(blanks, found + key.size());
  if (at == std::string_view::npos || data[at] != ':') return false;
  at = data.find_first_not_of(blanks, at + 1);
  if (at == std::string_view::npos || data[at] != '[') return false;
  at = data.find_first_not_of(blanks, at + 1);
  return at != std::string_view::npos && data[at] != ']';
}

std::optional<std::uint32_t> count_of(const json& usage, const char* name) {
  const auto found = usage.find(name);
  if (found == usage.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint32_t>();
}

}  // namespace

result<void> event_reader::take(std::string_view bytes,
                                const std::function<void(std::string_view)>& on_data) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    if (line_.size() + std::min(end, bytes.size()) > limits::bench_event_bytes_max)
      return error{errc::corrupt,
                   fmt::format("an event of more than {} bytes", limits::bench_event_bytes_max)};
    if (end == std::string_view::npos) {
      line_.append(bytes);
      return {};
    }
    std::string_view line = bytes.substr(0, end);
    if (!line_.empty()) line = line_.append(line);
    bytes.remove_prefix(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("data:")) {
      line.remove_prefix(5);
      if (line.starts_with(' ')) line.remove_prefix(1);
      on_data(line);
    }
    line_.clear();
  }
  return {};
}

completion_event read_completion_event(std::string_view data) {
  completion_event event;
  event.is_last = data == "[DONE]";
  event.has_choice = has_choices(data);
  if (event.is_last || event.has_choice) return event;
  const json tree = json::parse(data, nullptr, false);
  if (!tree.is_object()) {
    event.failure = fmt::format("not an event of a completion: {}", data.substr(0, 200));
    return event;
  }
  if (tree.contains("error")) event.failure = error_message_of(data);
  if (const auto usage = tree.find("usage"); usage != tree.end() && usage->is_object()) {
    event.prompt_tokens = count_of(*usage, "prompt_tokens");
    event.output_tokens = count_of(*usage, "completion_tokens");
  }
  return event;
}

std::string completion_body(const work_item& item, const generation_settings& settings) {
  std::string out = "{\"model\":";
  append_json_string(out, settings.model);
  out += ",\"prompt\":";
  append_json_string(out, item.prompt);
  out += fmt::format(
      ",\"max_tokens\":{},\"stream\":true,\"stream_options\":{{\"include_usage\":true}}",
      item.output_tokens);
  if (settings.ignore_eos) out += ",\"ignore_eos\":true";
  if (settings.deadline_ms != 0) out += fmt::format(",\"deadline_ms\":{}", settings.deadline_ms);
  if (settings.temperature) {
    out += ",\"temperature\":";
    append_json_number(out, *settings.temperature);
  }
  return out + "}";
}

std::string error_message_of(std::string_view body) {
  const json tree = json::parse(body, nullptr, false);
  const json* at = &tree;
  if (at->is_object() && at->contains("error")) at = &(*at)["error"];
  if (at->is_object() && at->contains("message")) at = &(*at)["message"];
  return at->is_string() ? at->get<std::string>() : std::string(body);
}

}  // namespace troupe::bench
