#include "actors/gateway/http_routes.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

namespace troupe {
namespace {

struct endpoint {
  std::string_view path;
  http_route route;
  bool is_post;
};

constexpr std::array<endpoint, 8> endpoints{{
    {"/v1/completions", http_route::completions, true},
    {"/v1/chat/completions", http_route::chat_completions, true},
    {"/v1/models", http_route::models, false},
    {"/health", http_route::health, false},
    {"/version", http_route::version, false},
    {"/metrics", http_route::metrics, false},
    {"/tokenize", http_route::tokenize, true},
    {"/detokenize", http_route::detokenize, true},
}};

bool equal_in_constant_time(std::string_view key, std::string_view presented) {
  // Work depends on the presented length alone, which its sender knows.
  unsigned difference = key.size() == presented.size() ? 0u : 1u;
  for (std::size_t i = 0; i < presented.size(); ++i) {
    difference |= static_cast<unsigned>(static_cast<unsigned char>(presented[i]) ^
                                        static_cast<unsigned char>(key[i % key.size()]));
  }
  return difference == 0;
}

/// The client's own text in an error: cut, and without control characters.
std::string shown(std::string_view text) {
  constexpr std::size_t shown_bytes_max = 100;
  std::string out(text.substr(0, shown_bytes_max));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < 0x20 || c == 0x7f; }, '?');
  return out;
}

/// A browser asks before it lets another site's page send JSON or a key (Fetch standard,
/// section 3.2).
http_reply reply_to_preflight() {
  http_reply reply;
  reply.fields = {{"Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS"},
                  {"Access-Control-Allow-Headers", "*, Authorization"},  // which * leaves out
                  {"Access-Control-Max-Age", "600"}};
  return reply;
}

}  // namespace

std::variant<http_route, http_reply> find_route(std::string_view method, std::string_view path) {
  const auto* found = std::find_if(endpoints.begin(), endpoints.end(),
                                   [&](const endpoint& each) { return each.path == path; });
  if (found == endpoints.end()) {
    return make_error_reply({errc::not_found, fmt::format("there is no endpoint {}", shown(path))});
  }
  if (method == "OPTIONS") return reply_to_preflight();
  const bool allowed = found->is_post ? method == "POST" : method == "GET" || method == "HEAD";
  if (allowed) return found->route;
  const std::string_view allow = found->is_post ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";
  http_reply reply =
      make_error_reply({errc::invalid_argument,
                        fmt::format("{} takes {}, not {}", found->path, allow, shown(method))},
                       405);
  reply.fields.emplace_back("Allow", allow);
  return reply;
}

bool is_for_probes(http_route route) {
  return route == http_route::health || route == http_route::version ||
         route == http_route::metrics;
}

bool is_probe(const http_head& head) {
  const auto found = find_route(head.method, head.path);
  const auto* route = std::get_if<http_route>(&found);
  return route != nullptr && is_for_probes(*route);
}

std::optional<std::size_t> find_key(const std::vector<std::string>& keys,
                                    std::string_view authorization) {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() < scheme.size()) return std::nullopt;
  for (std::size_t i = 0; i < scheme.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(authorization[i])) != scheme[i])
      return std::nullopt;
  }
  authorization.remove_prefix(scheme.size());
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (equal_in_constant_time(keys[i], authorization)) found = i;
  }
  return found;
}

std::string_view path_of(std::string_view target) {
  if (const auto scheme = target.find("://"); !target.starts_with('/') && scheme != target.npos) {
    const auto slash = target.find('/', scheme + 3);
    target = slash == target.npos ? "/" : target.substr(slash);
  }
  return target.substr(0, target.find_first_of("?#"));
}

}  // namespace troupe
