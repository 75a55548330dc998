#include "bench/serve/sharegpt.hpp"

#include <fstream>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/serve/python_random.hpp"
#include "config/limits.hpp"

namespace troupe::bench {
namespace {

using nlohmann::json;

// The pruning of vLLM's client (is_valid_sequence of its datasets).
constexpr std::size_t kept_tokens_min = 4;
constexpr std::size_t kept_prompt_tokens_max = 1024;
constexpr std::size_t kept_total_tokens_max = 2048;

const std::string* text_of(const json& turn) {
  if (!turn.is_object()) return nullptr;
  const auto value = turn.find("value");
  return value == turn.end() ? nullptr : value->get_ptr<const std::string*>();
}

void take_record(const json& record, std::vector<conversation>& out) {
  const auto turns = record.find("conversations");
  if (turns == record.end() || !turns->is_array() || turns->size() < 2) return;
  const std::string* prompt = text_of((*turns)[0]);
  const std::string* completion = text_of((*turns)[1]);
  if (prompt != nullptr && completion != nullptr) out.push_back({*prompt, *completion});
}

}  // namespace

result<std::vector<conversation>> read_sharegpt(const std::filesystem::path& file) {
  std::error_code failure;
  const auto bytes = std::filesystem::file_size(file, failure);
  if (failure)
    return error{errc::not_found,
                 fmt::format("cannot read {}: {}", file.string(), failure.message())};
  if (bytes > limits::bench_dataset_bytes_max)
    return error{errc::unsupported,
                 fmt::format("{} has {} bytes, at most {} are read", file.string(), bytes,
                             limits::bench_dataset_bytes_max)};
  std::ifstream stream(file, std::ios::binary);
  std::vector<conversation> out;
  // Each record is dropped once it is read: the file's tree would need several times its size.
  const auto take = [&out](int depth, json::parse_event_t event, json& parsed) {
    if (depth != 1 || event != json::parse_event_t::object_end) return true;
    take_record(parsed, out);
    return false;
  };
  const json root = json::parse(stream, take, false);
  if (root.is_discarded())
    return error{errc::corrupt,
                 fmt::format("{} is not a JSON array of conversations", file.string())};
  if (out.empty())
    return error{errc::corrupt, fmt::format("{} has no conversation of two turns", file.string())};
  return out;
}

bool is_kept(std::size_t prompt_tokens, std::size_t output_tokens, bool output_is_given) {
  return prompt_tokens >= kept_tokens_min &&
         (output_is_given || output_tokens >= kept_tokens_min) &&
         prompt_tokens <= kept_prompt_tokens_max &&
         prompt_tokens + output_tokens <= kept_total_tokens_max;
}

result<std::vector<work_item>> sample_sharegpt(std::vector<conversation> conversations,
                                               const sharegpt_options& options,
                                               const token_counter& count_tokens) {
  python_random(options.seed).shuffle(conversations);
  std::vector<work_item> out;
  for (conversation& each : conversations) {
    if (out.size() == options.request_count) return out;
    const std::size_t prompt_tokens = count_tokens(each.prompt);
    const std::size_t output_tokens =
        options.output_tokens ? *options.output_tokens : count_tokens(each.completion);
    if (!is_kept(prompt_tokens, output_tokens, options.output_tokens.has_value())) continue;
    out.push_back({std::move(each.prompt),
                   {},
                   static_cast<std::uint32_t>(prompt_tokens),
                   static_cast<std::uint32_t>(output_tokens)});
  }
  if (out.empty())
    return error{errc::invalid_argument,
                 "no conversation has a length that vLLM's client would keep"};
  const auto distinct = static_cast<std::uint32_t>(out.size());
  python_random again(options.seed);
  while (out.size() < options.request_count) out.push_back(out[again.below(distinct)]);
  return out;
}

}  // namespace troupe::bench
