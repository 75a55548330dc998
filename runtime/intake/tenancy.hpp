// Who a client is, which lanes it may use, and whether it is above its token rate. Ports ask who it
// is; the gateway asks twice whether a request may come in, on its header alone (enter) and when
// its tokens are counted (charge); whoever ends a request settles what it used. Thread-safe; time
// is handed in. Without tenants everybody has all lanes and no limit.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/config.hpp"
#include "kernels/base/result.hpp"
#include "runtime/intake/token_bucket.hpp"
#include "runtime/schedule/lane.hpp"

namespace troupe {

/// Index of a tenant of the configuration, or one of two that are none: the program that embeds the
/// engine, and clients without limits; clients that no tenant claims.
enum class account_index : std::uint32_t { unlimited = 0xffffffff, stranger = 0xfffffffe };

struct client_tenant {
  std::string name;  ///< salts the prefix cache and scopes request ids
  account_index account = account_index::unlimited;
};

/// What a request was admitted as. The charge comes back to settle().
struct admission {
  lane service = lane::realtime;
  bool demoted = false;       ///< it asked for a better lane
  std::uint64_t charged = 0;  ///< tokens
};

class tenancy {
 public:
  /// Of a checked configuration (validate). `start`: every allowance is full.
  tenancy(const server_config& config, std::chrono::nanoseconds start);

  /// The HTTP keys to check against; empty: none is asked for.
  [[nodiscard]] const std::vector<std::string>& http_keys() const { return http_keys_; }
  /// The client with the key of this place in http_keys(); without one, a stranger.
  [[nodiscard]] client_tenant of_key(std::optional<std::size_t> place) const;
  /// The longest of the tenants' identities that fits decides.
  [[nodiscard]] client_tenant of_identity(std::string_view identity) const;

  /// Errors: permission_denied (not its lane), rate_limited (above its rate now).
  result<admission> enter(account_index account, lane wanted, std::chrono::nanoseconds now);
  /// Whether a request would come into the vip lane now. `asked`: the lane that its head names; a
  /// tenant that has no other lane need not name it.
  [[nodiscard]] bool enters_vip(account_index account, std::optional<lane> asked,
                                std::chrono::nanoseconds now);
  /// The tokens that the request can use at most. Errors: rate_limited.
  result<admission> charge(account_index account, const admission& entered, std::uint64_t tokens,
                           std::chrono::nanoseconds now);
  void settle(account_index account, const admission& admitted, std::uint64_t used_tokens,
              std::chrono::nanoseconds now);

  /// Until a tenant that is above its rate is taken again; zero for others.
  [[nodiscard]] std::chrono::milliseconds wait(account_index account, std::chrono::nanoseconds now);

  /// The tenant's weight within a lane.
  [[nodiscard]] double share(account_index account) const;
  [[nodiscard]] bool has_tenants() const { return !tenants_.empty(); }

 private:
  struct tenant {
    std::string name;
    std::array<bool, lane_count> lanes{};
    bool demotes = false;
    double share = 1.0;
    std::optional<token_bucket> allowance;  ///< none: no limit
  };

  void add(const tenant_config& given, std::chrono::nanoseconds start);
  void add_identity(const std::string& pattern, account_index account);
  /// Null for the two accounts that are no tenants.
  [[nodiscard]] tenant* find(account_index account);
  [[nodiscard]] client_tenant client_of(account_index account) const;
  /// The allowance that a request in this lane draws from; null: none.
  static token_bucket* allowance_of(tenant* who, lane service);
  /// What becomes of a request above the rate.
  static result<admission> above_rate(tenant& over, std::chrono::nanoseconds now);

  std::vector<tenant> tenants_;
  std::vector<std::string> http_keys_;
  std::vector<client_tenant> key_owners_;  ///< by place in http_keys_
  std::unordered_map<std::string, account_index> identities_, prefixes_;
  std::set<std::size_t, std::greater<>> prefix_lengths_;
  std::mutex mutex_;  ///< guards the allowances; all else is never changed
};

}  // namespace troupe
