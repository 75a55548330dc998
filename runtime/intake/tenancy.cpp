#include "runtime/intake/tenancy.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace troupe {
namespace {

/// burst_tokens where the configuration gives none.
constexpr double default_burst_s = 10.0;

/// Clients that no tenant claims: of HTTP without a key, of ZeroMQ.
constexpr std::string_view keyless_name = "", wire_name = "local";

std::string names_of(const std::array<bool, lane_count>& lanes) {
  std::string out;
  for (const lane each : all_lanes) {
    if (lanes[to_index(each)]) out.append(out.empty() ? "" : ", ").append(to_string(each));
  }
  return out;
}

constexpr std::array<bool, lane_count> stranger_lanes{false, true, true},
    vip_alone{true, false, false};

error refuse_lane(const std::string& who, lane wanted, const std::array<bool, lane_count>& lanes) {
  return {errc::permission_denied, fmt::format("{} may not use the {} lane; it may use {}", who,
                                               to_string(wanted), names_of(lanes))};
}

}  // namespace

tenancy::tenancy(const server_config& config, std::chrono::nanoseconds start) {
  const account_index keyed =
      config.tenants.empty() ? account_index::unlimited : account_index::stranger;
  for (const std::string& key : config.api_key) {
    key_owners_.push_back({fmt::format("key-{}", http_keys_.size()), keyed});
    http_keys_.push_back(key);
  }
  for (const tenant_config& given : config.tenants) add(given, start);
}

void tenancy::add(const tenant_config& given, std::chrono::nanoseconds start) {
  const auto account = static_cast<account_index>(tenants_.size());
  tenant& made = tenants_.emplace_back();
  made.name = given.name;
  made.demotes = given.over_rate == "demote";
  made.share = given.share;
  for (const std::string& name : given.lanes) made.lanes[to_index(*parse_lane(name))] = true;
  if (given.tokens_per_second > 0.0) {
    const double burst =
        given.burst_tokens != 0 ? given.burst_tokens : default_burst_s * given.tokens_per_second;
    made.allowance.emplace(given.tokens_per_second, burst, start);
  }
  for (const std::string& key : given.api_keys) {
    http_keys_.push_back(key);
    key_owners_.push_back({given.name, account});
  }
  for (const std::string& pattern : given.zmq_identities) add_identity(pattern, account);
}

void tenancy::add_identity(const std::string& pattern, account_index account) {
  if (!pattern.ends_with('*')) {
    identities_.emplace(pattern, account);
    return;
  }
  prefixes_.emplace(pattern.substr(0, pattern.size() - 1), account);
  prefix_lengths_.insert(pattern.size() - 1);
}

client_tenant tenancy::client_of(account_index account) const {
  return {tenants_[static_cast<std::size_t>(account)].name, account};
}

client_tenant tenancy::of_key(std::optional<std::size_t> place) const {
  if (place) return key_owners_.at(*place);
  return {std::string(keyless_name),
          tenants_.empty() ? account_index::unlimited : account_index::stranger};
}

client_tenant tenancy::of_identity(std::string_view identity) const {
  if (tenants_.empty()) return {std::string(wire_name), account_index::unlimited};
  if (const auto found = identities_.find(std::string(identity)); found != identities_.end())
    return client_of(found->second);
  for (const std::size_t length : prefix_lengths_) {
    if (length > identity.size()) continue;
    const auto found = prefixes_.find(std::string(identity.substr(0, length)));
    if (found != prefixes_.end()) return client_of(found->second);
  }
  return {std::string(wire_name), account_index::stranger};
}

tenancy::tenant* tenancy::find(account_index account) {
  const auto place = static_cast<std::size_t>(account);
  return place < tenants_.size() ? &tenants_[place] : nullptr;
}

token_bucket* tenancy::allowance_of(tenant* who, lane service) {
  if (who == nullptr || !who->allowance) return nullptr;
  if (who->demotes && service == lane::async) return nullptr;  // where the excess goes anyway
  return &*who->allowance;
}

result<admission> tenancy::above_rate(tenant& over, std::chrono::nanoseconds now) {
  if (over.demotes) return admission{lane::async, true, 0};
  return error{
      errc::rate_limited,
      fmt::format("tenant '{}' is above its rate of {} tokens/s; retry in {} ms", over.name,
                  over.allowance->tokens_per_second(), over.allowance->wait(now).count())};
}

result<admission> tenancy::enter(account_index account, lane wanted, std::chrono::nanoseconds now) {
  tenant* const who = find(account);
  if (account == account_index::stranger && !stranger_lanes[to_index(wanted)])
    return refuse_lane("a client that is no tenant's", wanted, stranger_lanes);
  if (who != nullptr && !who->lanes[to_index(wanted)])
    return refuse_lane(fmt::format("tenant '{}'", who->name), wanted, who->lanes);
  token_bucket* const allowance = allowance_of(who, wanted);
  if (allowance == nullptr) return admission{wanted, false, 0};
  const std::lock_guard lock(mutex_);
  if (!allowance->is_open(now)) return above_rate(*who, now);
  return admission{wanted, false, 0};
}

bool tenancy::enters_vip(account_index account, std::optional<lane> asked,
                         std::chrono::nanoseconds now) {
  const tenant* const who = find(account);
  if (!asked && who != nullptr && who->lanes == vip_alone) asked = lane::vip;
  if (asked != lane::vip) return false;
  const auto entered = enter(account, lane::vip, now);
  return entered && entered->service == lane::vip;
}

result<admission> tenancy::charge(account_index account, const admission& entered,
                                  std::uint64_t tokens, std::chrono::nanoseconds now) {
  tenant* const who = find(account);
  token_bucket* const allowance = allowance_of(who, entered.service);
  if (allowance == nullptr) return entered;
  const std::lock_guard lock(mutex_);
  if (!allowance->charge(static_cast<double>(tokens), now)) return above_rate(*who, now);
  return admission{entered.service, entered.demoted, tokens};
}

void tenancy::settle(account_index account, const admission& admitted, std::uint64_t used_tokens,
                     std::chrono::nanoseconds now) {
  token_bucket* const allowance = allowance_of(find(account), admitted.service);
  if (allowance == nullptr || used_tokens >= admitted.charged) return;
  const std::lock_guard lock(mutex_);
  allowance->refund(static_cast<double>(admitted.charged - used_tokens), now);
}

std::chrono::milliseconds tenancy::wait(account_index account, std::chrono::nanoseconds now) {
  tenant* const who = find(account);
  if (who == nullptr || !who->allowance) return {};
  const std::lock_guard lock(mutex_);
  return who->allowance->wait(now);
}

double tenancy::share(account_index account) const {
  const auto place = static_cast<std::size_t>(account);
  return place < tenants_.size() ? tenants_[place].share : 1.0;
}

}  // namespace troupe
