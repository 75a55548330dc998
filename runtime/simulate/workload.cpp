#include "runtime/simulate/workload.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/simulate/random_draws.hpp"

namespace troupe::simulate {
namespace {

std::uint32_t draw_length(const length_distribution& lengths, random_draws& random) {
  double tokens = lengths.mean_tokens;
  if (lengths.kind == length_kind::lognormal)  // exp(mu + sigma^2 / 2) is the mean
    tokens *= std::exp(lengths.sigma * random.normal() - 0.5 * lengths.sigma * lengths.sigma);
  const double least = lengths.min_tokens, most = lengths.max_tokens;
  return static_cast<std::uint32_t>(std::llround(std::clamp(tokens, least, most)));
}

lane draw_lane(const std::array<double, lane_count>& shares, random_draws& random) {
  double left = random.uniform();
  for (const lane each : all_lanes) {
    left -= shares[to_index(each)];
    if (left < 0.0) return each;
  }
  return lane::realtime;
}

/// As vLLM's client does it: the whole is scaled so that the last request arrives at count / rate,
/// because sums of random gaps differ by some percent between seeds.
void set_arrivals(std::vector<virtual_request>& requests, const arrival_process& process,
                  std::uint64_t seed) {
  if (std::isinf(process.rate_per_s) || requests.empty()) return;
  random_draws random(seed, draw_stream::arrivals);
  std::vector<double> times(requests.size());
  double at = 0.0;
  for (double& each : times) each = at += random.gamma(process.burstiness);
  const double scale_ns = static_cast<double>(requests.size()) / process.rate_per_s / at * 1e9;
  for (std::size_t i = 0; i < times.size(); ++i)
    requests[i].arrival = monotonic_time(std::llround(times[i] * scale_ns));
}

class trace_parser {
 public:
  trace_parser(std::string_view text, std::string_view name) : rest_(text), name_(name) {}

  result<std::vector<virtual_request>> parse() {
    std::vector<virtual_request> requests;
    const auto header = next_line();
    if (!header || !header->starts_with("arrival_s,prompt_tokens,output_tokens"))
      return refuse("the first line must be \"arrival_s,prompt_tokens,output_tokens,lane\"");
    while (const auto line = next_line()) {
      if (line->empty()) continue;
      if (requests.size() == limits::simulated_request_count_max)
        return error{errc::invalid_argument, fmt::format("{}: more than {} requests", name_,
                                                         limits::simulated_request_count_max)};
      TROUPE_TRY(auto request, parse_line(*line));
      if (!requests.empty() && request.arrival < requests.back().arrival)
        return refuse("arrivals must ascend");
      requests.push_back(request);
    }
    if (requests.empty()) return refuse("there is no request");
    return requests;
  }

 private:
  std::optional<std::string_view> next_line() {
    if (rest_.empty()) return std::nullopt;
    ++line_;
    const std::size_t end = rest_.find('\n');
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

  [[nodiscard]] error refuse(std::string_view what) const {
    return {errc::invalid_argument, fmt::format("{}:{}: {}", name_, line_, what)};
  }

  static std::string_view take_cell(std::string_view& line) {
    const std::size_t comma = line.find(',');
    const std::string_view cell = line.substr(0, comma);
    line.remove_prefix(comma == std::string_view::npos ? line.size() : comma + 1);
    return cell;
  }

  template <class Number>
  result<Number> number(std::string_view cell, std::string_view column, Number least,
                        Number most) const {
    Number value{};
    const auto outcome = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (outcome.ec != std::errc{} || outcome.ptr != cell.data() + cell.size() ||
        !(value >= least && value <= most))
      return refuse(fmt::format("{} must be a number from {} to {}, not \"{}\"", column, least,
                                most, cell.substr(0, 40)));
    return value;
  }

  result<virtual_request> parse_line(std::string_view line) const {
    virtual_request request;
    TROUPE_TRY(const double seconds,
               number(take_cell(line), "arrival_s", 0.0, limits::simulated_seconds_max));
    request.arrival = monotonic_time(std::llround(seconds * 1e9));
    TROUPE_TRY(request.prompt_tokens,
               number(take_cell(line), "prompt_tokens", 1u, limits::model_len_max));
    TROUPE_TRY(request.output_tokens,
               number(take_cell(line), "output_tokens", 1u, limits::model_len_max));
    if (line.empty()) return request;
    const auto service = parse_lane(line);
    if (!service) return refuse("lane must be vip, realtime or async");
    request.service = *service;
    return request;
  }

  std::string_view rest_, name_;
  int line_ = 0;
};

}  // namespace

std::vector<virtual_request> make_workload(const workload_description& description,
                                           const std::vector<token_lengths>& given,
                                           std::uint64_t seed) {
  std::vector<virtual_request> requests(description.request_count);
  set_arrivals(requests, description.arrivals, seed);
  random_draws prompts(seed, draw_stream::prompts), outputs(seed, draw_stream::outputs),
      lanes(seed, draw_stream::lanes), prefixes(seed, draw_stream::prefixes);
  const shared_prefixes& shared = description.prefixes;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    virtual_request& each = requests[i];
    each.prompt_tokens =
        given.empty() ? draw_length(description.prompt, prompts) : given[i % given.size()].prompt;
    each.output_tokens =
        given.empty() ? draw_length(description.output, outputs) : given[i % given.size()].output;
    each.service = draw_lane(description.lane_share, lanes);
    if (shared.groups == 0 || prefixes.uniform() >= shared.share) continue;
    each.prefix = prefixes.below(shared.groups);
    each.prefix_tokens = shared.tokens;
    each.prompt_tokens = std::max(each.prompt_tokens, shared.tokens + 1);
  }
  set_deadlines(requests, description.lane_allowed, seed);
  return requests;
}

void set_deadlines(std::vector<virtual_request>& requests,
                   const std::array<allowed_time, lane_count>& lane_allowed, std::uint64_t seed) {
  random_draws random(seed, draw_stream::deadlines);
  for (virtual_request& each : requests) {
    const allowed_time& allowed = lane_allowed[to_index(each.service)];
    each.allowed = from_ms(std::lerp(allowed.ms_min, allowed.ms_max, random.uniform()));
  }
}

result<std::vector<virtual_request>> parse_trace(std::string_view text, std::string_view name) {
  return trace_parser(text, name).parse();
}

}  // namespace troupe::simulate
