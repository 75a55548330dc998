// A lower tier for tests of the scheduler: keeps exactly what was offloaded, by whole prefixes, and
// offers what it is asked for, with holes where told to.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "runtime/schedule/scheduler_core.hpp"

namespace troupe::test {

class fake_lower_tier {
 public:
  void take(const step_result& result) {
    for (const auto& block : result.offloaded) blocks_[name_of(*block.key)] = block.bytes;
  }

  /// keep(place): whether to offer what there is.
  [[nodiscard]] std::vector<offered_block> find(
      std::span<const block_key_ptr> keys,
      const std::function<bool(std::uint32_t)>& keep = [](std::uint32_t) { return true; }) const {
    std::vector<offered_block> found;
    for (std::uint32_t i = 0; i < keys.size(); ++i) {
      const auto known = blocks_.find(name_of(*keys[i]));
      if (known != blocks_.end() && keep(i)) found.push_back({i, keys[i], known->second});
    }
    return found;
  }
  [[nodiscard]] std::vector<offered_block> find(const schedule_request& request,
                                                const scheduler_limits& limits) const {
    return find(block_keys_of(limits.model_fingerprint, request.tenant_salt, {*request.prompt, {}},
                              limits.block_tokens));
  }
  [[nodiscard]] std::size_t size() const { return blocks_.size(); }

 private:
  using name = std::pair<std::uint64_t, std::vector<token_id>>;

  static name name_of(const block_key& key) {
    name made{key.tenant_salt(), {}};
    for (const block_key* link = &key; link != nullptr; link = link->parent().get()) {
      made.second.insert(made.second.begin(), link->tokens().begin(), link->tokens().end());
    }
    return made;
  }

  std::map<name, block_bytes> blocks_;
};

}  // namespace troupe::test
