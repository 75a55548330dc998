// The checks across keys, and of addresses.
#include <algorithm>
#include <charconv>
#include <set>

#include "config/limits.hpp"
#include "config/load.hpp"

namespace troupe {
namespace {

error refuse(std::string message) {
  return {errc::invalid_argument, std::move(message)};
}

struct address {
  std::string host, port;
};

/// "host:port" or "[v6]:port".
std::optional<address> split_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  address parts{text.substr(0, colon), text.substr(colon + 1)};
  const bool is_bracketed = parts.host.starts_with('[') && parts.host.ends_with(']');
  if (is_bracketed) {
    parts.host = parts.host.substr(1, parts.host.size() - 2);
  } else if (parts.host.find(':') != std::string::npos) {
    return std::nullopt;
  }
  return parts.host.empty() ? std::nullopt : std::optional(parts);
}

bool is_token(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127; });
}

bool has_any_key(const server_config& config) {
  return !config.api_key.empty() ||
         std::any_of(config.tenants.begin(), config.tenants.end(),
                     [](const tenant_config& tenant) { return !tenant.api_keys.empty(); });
}

bool is_port(const std::string& text) {
  unsigned port = 0;
  const char* end = text.data() + text.size();
  const auto outcome = std::from_chars(text.data(), end, port);
  return outcome.ec == std::errc{} && outcome.ptr == end && port <= 65'535;
}

/// Names are not resolved: only spellings that cannot mean anything else count. "127.evil.org" does
/// not.
bool is_loopback(const std::string& host) {
  if (host == "localhost" || host == "::1") return true;
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos &&
         std::count(host.begin(), host.end(), '.') == 3;
}

result<void> check_http(const server_config& config) {
  if (config.http.empty()) return {};
  const auto parts = split_address(config.http);
  if (!parts || !is_port(parts->port))
    return refuse("http must be host:port, as 127.0.0.1:8000 or [::1]:8000, not \"" + config.http +
                  "\"");
  if (!is_loopback(parts->host) && !has_any_key(config))
    return refuse("http listens beyond this machine (" + config.http +
                  "), so api_key must be set, or api_keys of tenants; use 127.0.0.1 to stay local");
  return {};
}

result<void> check_zmq(const server_config& config) {
  const std::string& endpoint = config.zmq;
  if (endpoint.empty()) return {};
  constexpr std::string_view tcp = "tcp://", ipc = "ipc://";
  if (endpoint.starts_with(ipc) && endpoint.size() > ipc.size()) return {};
  const auto parts =
      endpoint.starts_with(tcp) ? split_address(endpoint.substr(tcp.size())) : std::nullopt;
  if (!parts || (!is_port(parts->port) && parts->port != "*"))
    return refuse("zmq must be tcp://host:port or ipc://path, not \"" + endpoint + "\"");
  if (!is_loopback(parts->host))
    return refuse("zmq listens beyond this machine (" + endpoint +
                  "), which needs CURVE encryption, and this build has none: use 127.0.0.1 and a "
                  "tunnel, or http with api_key");
  return {};
}

result<void> check_engine(const server_config& config) {
  if (config.block_size % 16 != 0 || 256 % config.block_size != 0)
    return refuse("block_size must be 16, 32, 64, 128 or 256, not " +
                  std::to_string(config.block_size));
  if (config.max_num_batched_tokens < config.max_num_seqs)
    return refuse("max_num_batched_tokens (" + std::to_string(config.max_num_batched_tokens) +
                  ") must be at least max_num_seqs (" + std::to_string(config.max_num_seqs) +
                  "): every sequence decodes one token in a step");
  if (!config.enable_chunked_prefill && config.max_num_batched_tokens < config.max_model_len)
    return refuse("max_num_batched_tokens (" + std::to_string(config.max_num_batched_tokens) +
                  ") must be at least max_model_len (" + std::to_string(config.max_model_len) +
                  ") without enable_chunked_prefill: a prompt must fit in one step");
  if (config.vip_step_ms_max > config.step_ms_max)
    return refuse("vip_step_ms_max (" + std::to_string(config.vip_step_ms_max) +
                  ") must not be more than step_ms_max (" + std::to_string(config.step_ms_max) +
                  "): set both");
  return {};
}

result<void> check_service(const server_config& config) {
  if (config.client_timeout_ms <= config.heartbeat_ms)
    return refuse("client_timeout_ms must be more than heartbeat_ms");
  double reserved = 0;
  for (const lane_config& lane : config.lanes) reserved += lane.reserved_fraction;
  if (reserved > 0.9)
    return refuse("the lanes reserve more than 0.9 of the engine together (reserved_fraction)");
  for (const std::string& key : config.api_key) {
    if (!is_token(key))
      return refuse("an api_key must be a text of printable ASCII without spaces");
  }
  return {};
}

/// A name that stands in metrics, salts and logs; the dots of no path in it.
bool is_tenant_name(const std::string& name) {
  constexpr std::size_t name_bytes_max = 64;
  constexpr std::string_view others = "-_.";
  return !name.empty() && name.size() <= name_bytes_max &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                  others.find(c) != others.npos;
         });
}

/// Each text of all tenants stands for one of them.
result<void> claim(std::set<std::string>& taken, const std::vector<std::string>& texts,
                   const std::string& what, std::size_t bytes_max) {
  if (texts.size() > limits::tenant_key_count_max)
    return refuse(what + " has more than " + std::to_string(limits::tenant_key_count_max) +
                  " entries");
  for (const std::string& text : texts) {
    if (!is_token(text) || text.size() > bytes_max)
      return refuse(what + " takes texts of 1 to " + std::to_string(bytes_max) +
                    " characters of printable ASCII without spaces");
    if (!taken.insert(text).second)
      return refuse(what + " names something that is given to another tenant, or twice");
  }
  return {};
}

result<void> check_identities(const tenant_config& tenant, const std::string& of) {
  for (const std::string& pattern : tenant.zmq_identities) {
    if (pattern.find('*') < pattern.size() - 1)
      return refuse(of + "zmq_identities has \"" + pattern +
                    "\", but '*' stands for anything only at the end");
  }
  if (tenant.api_keys.empty() && tenant.zmq_identities.empty())
    return refuse(of + "nobody could be it: it needs api_keys or zmq_identities");
  return {};
}

result<void> check_rate(const tenant_config& tenant, const std::string& of) {
  if (tenant.burst_tokens != 0 && tenant.tokens_per_second == 0)
    return refuse(of + "burst_tokens means nothing without tokens_per_second");
  if (tenant.over_rate == "demote" && tenant.tokens_per_second == 0)
    return refuse(of + "over_rate: demote means nothing without tokens_per_second");
  const bool has_lane_to_leave =
      std::any_of(tenant.lanes.begin(), tenant.lanes.end(),
                  [](const std::string& lane) { return lane != "async"; });
  if (tenant.over_rate == "demote" && !has_lane_to_leave)
    return refuse(of +
                  "over_rate: demote would limit nothing, as it moves requests to the async "
                  "lane, the only one of this tenant: use over_rate: refuse, or give it another "
                  "lane");
  return {};
}

result<void> check_tenants(const server_config& config) {
  constexpr std::size_t api_key_bytes_max = 4'096;
  // Those of clients that are no tenant's: see runtime/intake/tenancy.
  std::set<std::string> names{"local", "embedded"};
  std::set<std::string> keys(config.api_key.begin(), config.api_key.end()), identities;
  for (const tenant_config& tenant : config.tenants) {
    if (!is_tenant_name(tenant.name) || tenant.name.starts_with("key-"))
      return refuse("the tenant name \"" + tenant.name +
                    "\" must be 1 to 64 letters, digits, '-', '_' and '.', and not begin with "
                    "\"key-\"");
    if (!names.insert(tenant.name).second)
      return refuse("the tenant name \"" + tenant.name + "\" is taken");
    const std::string of = "tenant \"" + tenant.name + "\": ";
    TROUPE_TRY_VOID(claim(keys, tenant.api_keys, of + "api_keys", api_key_bytes_max));
    TROUPE_TRY_VOID(claim(identities, tenant.zmq_identities, of + "zmq_identities",
                          limits::zmq_identity_bytes_max));
    if (tenant.lanes.empty()) return refuse(of + "lanes is empty: it could ask for nothing");
    TROUPE_TRY_VOID(check_identities(tenant, of));
    TROUPE_TRY_VOID(check_rate(tenant, of));
  }
  return {};
}

}  // namespace

result<void> validate(const server_config& config) {
  TROUPE_TRY_VOID(check_engine(config));
  TROUPE_TRY_VOID(check_service(config));
  TROUPE_TRY_VOID(check_tenants(config));
  TROUPE_TRY_VOID(check_http(config));
  TROUPE_TRY_VOID(check_zmq(config));
  return {};
}

}  // namespace troupe
