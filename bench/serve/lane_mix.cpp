#include "bench/serve/lane_mix.hpp"

#include <charconv>
#include <cmath>
#include <random>

#include <fmt/format.h>

namespace troupe::bench {
namespace {

error bad(std::string_view part) {
  return {errc::invalid_argument,
          fmt::format(
              "\"{}\" is not LANE=SHARE with a lane of vip, realtime, async and a share above 0",
              part)};
}

}  // namespace

result<std::vector<lane_share>> parse_lane_mix(std::string_view text) {
  std::vector<lane_share> mix;
  for (bool is_more = !text.empty(); is_more;) {
    const std::string_view part = text.substr(0, text.find(','));
    is_more = part.size() < text.size();
    text.remove_prefix(part.size() + (is_more ? 1 : 0));
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) return bad(part);
    const auto service = parse_lane(part.substr(0, equals));
    const std::string_view number = part.substr(equals + 1);
    double weight = 0.0;
    const auto [end, failure] =
        std::from_chars(number.data(), number.data() + number.size(), weight);
    if (!service || failure != std::errc{} || end != number.data() + number.size())
      return bad(part);
    if (!std::isfinite(weight) || weight <= 0.0) return bad(part);
    for (const lane_share& other : mix)
      if (other.service == *service)
        return error{errc::invalid_argument, fmt::format("\"{}\": named twice", part)};
    mix.push_back({*service, weight});
  }
  return mix;
}

std::vector<lane> choose_lanes(const std::vector<lane_share>& mix, std::size_t request_count,
                               std::uint64_t seed) {
  std::vector<lane> out(request_count, lane::realtime);
  if (mix.empty()) return out;
  std::vector<double> weights;
  for (const lane_share& share : mix) weights.push_back(share.weight);
  std::discrete_distribution<std::size_t> drawn(weights.begin(), weights.end());
  std::mt19937_64 random(seed);
  for (lane& each : out) each = mix[drawn(random)].service;
  return out;
}

}  // namespace troupe::bench
