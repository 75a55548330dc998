// Which endpoint a request is for and whether its sender may use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "actors/gateway/http_message.hpp"

namespace troupe {

enum class http_route : std::uint8_t {
  completions,
  chat_completions,
  models,
  health,
  version,
  metrics,
  tokenize,
  detokenize,
};

/// The endpoint, or the reply that there is already: to a browser's preflight, 404, or 405 with
/// Allow.
std::variant<http_route, http_reply> find_route(std::string_view method, std::string_view path);

/// Health, version and metrics are for probes, which carry no key.
bool is_for_probes(http_route route);
bool is_probe(const http_head& head);

/// The index of the key in `Bearer KEY`; nullopt for none of ours. Takes the same time for every
/// wrong key of one length.
std::optional<std::size_t> find_key(const std::vector<std::string>& keys,
                                    std::string_view authorization);

/// "/v1/models" of "/v1/models?x=1" and of "http://host/v1/models".
std::string_view path_of(std::string_view target);

}  // namespace troupe
