// docs/protocol.md against the code: its tables list exactly the fields, kinds, codes and limits
// that there are, with their types and defaults, and its example bytes are what the codec reads and
// writes.
#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "config/config.hpp"
#include "config/limits.hpp"
#include "runtime/messages/envelope.hpp"
#include "runtime/messages/msgpack_fields.hpp"
#include "runtime/messages/openai.hpp"

using namespace troupe;

namespace {

using row = std::vector<std::string>;

std::vector<std::string> lines_of_page() {
  std::ifstream file(TROUPE_SOURCE_DIR "/docs/protocol.md");
  REQUIRE(file.good());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

row cells_of(const std::string& line) {
  row cells;
  std::stringstream stream(line.substr(1));
  for (std::string cell; std::getline(stream, cell, '|');) {
    const auto first = cell.find_first_not_of(' ');
    const auto last = cell.find_last_not_of(' ');
    cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return cells;
}

// The rows of the first table after a heading, without its head.
std::vector<row> table_after(const std::string& heading) {
  const auto lines = lines_of_page();
  auto line = std::find(lines.begin(), lines.end(), heading);
  CAPTURE(heading);
  REQUIRE(line != lines.end());
  while (line != lines.end() && !line->starts_with("|")) ++line;
  std::vector<row> rows;
  for (; line != lines.end() && line->starts_with("|"); ++line) rows.push_back(cells_of(*line));
  REQUIRE(rows.size() >= 2);
  rows.erase(rows.begin(), rows.begin() + 2);
  return rows;
}

std::string without_article(std::string_view type) {
  if (type.starts_with("a ")) type.remove_prefix(2);
  if (type.starts_with("an ")) type.remove_prefix(3);
  return std::string(type);
}

template <class T>
std::string default_text(const T& value) {
  if constexpr (wire::is_optional<T>::value) {
    return value ? "a value" : "nil";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return "`\"" + value + "\"`";
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "`true`" : "`false`";
  } else if constexpr (std::is_integral_v<T>) {
    return fmt::format("`{}`", value);
  } else if constexpr (std::is_floating_point_v<T>) {
    return fmt::format("`{:.1f}`", value);
  } else if constexpr (wire::is_vector<T>::value) {
    return value.empty() ? "`[]`" : "a value";
  } else {
    return "`{}`";
  }
}

template <class T>
void check_table(const std::string& name) {
  const auto rows = table_after("### `" + name + "`");
  std::size_t i = 0;
  for_each_field(T{}, [&](std::string_view field_name, const auto& member) {
    CAPTURE(name, field_name);
    REQUIRE(i < rows.size());
    const row& cells = rows[i++];
    REQUIRE(cells.size() == 4);
    using member_type = std::decay_t<decltype(member)>;
    CHECK(cells[0] == fmt::format("`{}`", field_name));
    CHECK(cells[1] == without_article(wire::expected_type<member_type>(field_name)));
    CHECK(cells[2] == default_text(member));
  });
  CHECK(i == rows.size());
}

std::vector<std::pair<std::string, std::string>> example_frames() {
  std::vector<std::pair<std::string, std::string>> frames;
  for (const std::string& line : lines_of_page()) {
    const bool header = line.starts_with("header  ");
    if (!header && !line.starts_with("payload ")) continue;
    std::stringstream stream(line.substr(8));
    std::string bytes;
    for (std::string byte; stream >> byte;)
      bytes += static_cast<char>(std::stoi(byte, nullptr, 16));
    if (header) {
      frames.push_back({bytes, ""});
    } else {
      frames.back().second = bytes;
    }
  }
  return frames;
}

}  // namespace

TEST_CASE("the payload tables are the field lists") {
  check_table<submit>("submit");
  check_table<accepted>("accepted");
  check_table<delta>("delta");
  check_table<position_logprobs>("position");
  check_table<logprob_entry>("entry");
  check_table<finished>("finished");
  check_table<error_reply>("error");
  check_table<cancel>("cancel");
  check_table<resume>("resume");
  check_table<ping>("ping");
  check_table<pong>("pong");
  check_table<stats>("stats");
}

TEST_CASE("the table of kinds is the enumeration") {
  const auto rows = table_after("## 3. Kinds");
  const std::pair<message_kind, const char*> kinds[] = {
      {message_kind::submit, "submit"}, {message_kind::accepted, "accepted"},
      {message_kind::delta, "delta"},   {message_kind::finished, "finished"},
      {message_kind::error, "error"},   {message_kind::cancel, "cancel"},
      {message_kind::resume, "resume"}, {message_kind::ping, "ping"},
      {message_kind::pong, "pong"},     {message_kind::stats, "stats"}};
  REQUIRE(rows.size() == std::size(kinds));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i][0] == std::to_string(static_cast<int>(kinds[i].first)));
    CHECK(rows[i][1] == fmt::format("`{}`", kinds[i].second));
  }
}

TEST_CASE("the table of error codes is the enumeration") {
  const auto rows = table_after("## 8. Error codes");
  REQUIRE(rows.size() == static_cast<std::size_t>(errc::internal) + 1);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i][0] == fmt::format("`{}`", to_string(static_cast<errc>(i))));
  }
}

TEST_CASE("the table of errors over HTTP is what bodies and statuses are made of") {
  const auto rows = table_after("## 13. Errors over HTTP");
  REQUIRE(rows.size() == static_cast<std::size_t>(errc::internal) + 1);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto code = static_cast<errc>(i);
    CHECK(rows[i][0] == fmt::format("`{}`", to_string(code)));
    CHECK(rows[i][1] == std::to_string(http_status_of(code)));
    const std::string type = rows[i][3].substr(1, rows[i][3].size() - 2);
    CHECK_THAT(openai_error({code, "x"}), Catch::Contains("\"type\":\"" + type + "\""));
  }
}

TEST_CASE("the limits are those of limits.hpp, the settings the defaults") {
  const server_config settings;
  const std::map<std::string, std::uint64_t> known{
      {"header_bytes_max", limits::header_bytes_max},
      {"control_payload_bytes_max", limits::control_payload_bytes_max},
      {"payload_bytes_max", limits::payload_bytes_max},
      {"payload_depth_max", limits::payload_depth_max},
      {"payload_elements_max", limits::payload_elements_max},
      {"map_keys_max", limits::map_keys_max},
      {"payload_keys_max", limits::payload_keys_max},
      {"request_id_bytes_max", limits::request_id_bytes_max},
      {"prompt_bytes_max", limits::prompt_bytes_max},
      {"deadline_ms_max", limits::deadline_ms_max},
      {"heartbeat_ms", settings.heartbeat_ms},
      {"client_timeout_ms", settings.client_timeout_ms},
      {"resume_ms_max", settings.resume_ms_max}};
  const auto rows = table_after("## 9. Limits");
  CHECK(rows.size() == known.size());
  for (const row& cells : rows) {
    const std::string name = cells[0].substr(1, cells[0].size() - 2);
    CAPTURE(name);
    REQUIRE(known.contains(name));
    CHECK(cells[1] == std::to_string(known.at(name)));
  }
}

TEST_CASE("bounds named in submit's table are those of limits.hpp") {
  std::map<std::string, std::string> meaning;
  for (const row& cells : table_after("### `submit`")) meaning[cells[0]] = cells[3];
  const auto says = [&](const char* name, const std::string& words) {
    CAPTURE(name);
    CHECK_THAT(meaning.at(name), Catch::Contains(words));
  };
  says("`n`", fmt::format("1 to {} ", limits::n_max));
  says("`temperature`", fmt::format("0 to {};", limits::temperature_max));
  says("`repetition_penalty`",
       fmt::format("{} to {},", limits::repetition_penalty_min, limits::repetition_penalty_max));
  says("`presence_penalty`", fmt::format("-{0} to {0},", limits::penalty_abs_max));
  says("`frequency_penalty`", fmt::format("-{0} to {0},", limits::penalty_abs_max));
  says("`priority`", fmt::format("-{0} to {0};", limits::priority_abs_max));
  says("`due_ms`", fmt::format("1 to {} ", limits::deadline_ms_max));
  says("`logit_bias`", fmt::format("-{0} to {0}; up to {1}", limits::logit_bias_abs_max,
                                   limits::logit_bias_count_max));
  says("`stop`", fmt::format("up to {} strings of 1 to {} bytes", limits::stop_count_max,
                             limits::stop_bytes_max));
  says("`stop_token_ids`", fmt::format("up to {} ", limits::stop_token_ids_max));
  says("`logprobs`", fmt::format("0 to {} ", limits::logprobs_max));
  says("`prompt_logprobs`", fmt::format("0 to {} ", limits::logprobs_max));
  says("`prompt_logprobs`", fmt::format("at most {} entries", limits::logprob_entries_max));
}

TEST_CASE(
    "the example's bytes are read, and written the same where our writer leaves nothing out") {
  const auto frames = example_frames();
  REQUIRE(frames.size() == 6);
  for (const auto& [header_bytes, payload] : frames) {
    const auto header = decode_header(header_bytes);
    if (!header) FAIL(header.failure().message);
    const auto body = decode_body(header->kind, payload);
    if (!body) FAIL(body.failure().message);
    CHECK(decode_header(encode_header(*header)).has_value());
    if (header->kind != message_kind::submit) CHECK(encode_body(*body) == payload);
  }
  const auto first = decode_body(message_kind::submit, frames[0].second);
  const submit* request = std::get_if<submit>(&*first);
  REQUIRE(request != nullptr);
  CHECK(request->prompt == "Hi");
  CHECK(request->max_tokens == 2);
  CHECK(request->temperature == 0.0);
}
