#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "bench/serve/report.hpp"

namespace troupe::bench {
namespace {

constexpr std::array<std::string_view, 4> metric_names{"ttft", "tpot", "itl", "e2el"};

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t comma = text.find(',');
    parts.push_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

std::optional<double> number_of(std::string_view text) {
  double value = 0.0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

}  // namespace

result<std::vector<std::string>> parse_metrics(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view name : split(text)) {
    if (std::find(metric_names.begin(), metric_names.end(), name) == metric_names.end())
      return error{errc::invalid_argument,
                   fmt::format("\"{}\" is not one of ttft, tpot, itl, e2el", name)};
    out.emplace_back(name);
  }
  return out;
}

result<std::vector<double>> parse_percents(std::string_view text) {
  std::vector<double> out;
  for (const std::string_view part : split(text)) {
    const auto percent = number_of(part);
    if (!percent || *percent < 0.0 || *percent > 100.0)
      return error{errc::invalid_argument,
                   fmt::format("\"{}\" is not a number from 0 to 100", part)};
    out.push_back(*percent);
  }
  return out;
}

result<goodput_bounds> parse_goodput(const std::vector<std::string>& pairs) {
  goodput_bounds out;
  for (const std::string_view pair : pairs) {
    const std::size_t colon = std::min(pair.find(':'), pair.size());
    const std::string_view name = pair.substr(0, colon);
    const auto bound_ms = number_of(pair.substr(std::min(colon + 1, pair.size())));
    std::optional<double>* place = name == "ttft"   ? &out.ttft_ms
                                   : name == "tpot" ? &out.tpot_ms
                                   : name == "e2el" ? &out.e2el_ms
                                                    : nullptr;
    if (place == nullptr || !bound_ms || *bound_ms < 0.0)
      return error{
          errc::invalid_argument,
          fmt::format("\"{}\" is not ttft:MS, tpot:MS or e2el:MS with a number of milliseconds",
                      pair)};
    *place = bound_ms;
  }
  return out;
}

}  // namespace troupe::bench
