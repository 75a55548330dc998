#include "runtime/memory/block_key.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

#include "kernels/base/check.hpp"
#include "kernels/base/hash.hpp"

namespace troupe {
namespace {

// Every input bit reaches every output bit.
constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  return mix_bits(hash * 0x9E3779B97F4A7C15u + value + 0x9E3779B97F4A7C15u);
}

std::uint64_t pair_of(token_id low, token_id high) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(low)) |
         static_cast<std::uint64_t>(static_cast<std::uint32_t>(high)) << 32;
}

}  // namespace

std::uint64_t chain_root(std::uint64_t model_fingerprint, std::uint64_t tenant_salt) {
  return mix(mix(0, model_fingerprint), tenant_salt);
}

std::uint64_t chain_next(std::uint64_t parent_hash, std::span<const token_id> tokens) {
  std::uint64_t hash = parent_hash;
  std::size_t i = 0;
  for (; i + 2 <= tokens.size(); i += 2) hash = mix(hash, pair_of(tokens[i], tokens[i + 1]));
  if (i < tokens.size()) hash = mix(hash, pair_of(tokens[i], token_id{-1}));
  return hash;
}

block_key_ptr block_key::make(std::uint64_t model_fingerprint, std::uint64_t tenant_salt,
                              block_key_ptr parent, std::span<const token_id> tokens) {
  TROUPE_CHECK(!parent || (parent->model_fingerprint_ == model_fingerprint &&
                           parent->tenant_salt_ == tenant_salt));
  std::shared_ptr<block_key> made(new block_key);
  made->hash_ =
      chain_next(parent ? parent->hash_ : chain_root(model_fingerprint, tenant_salt), tokens);
  made->model_fingerprint_ = model_fingerprint;
  made->tenant_salt_ = tenant_salt;
  made->place_ = parent ? parent->place_ + 1 : 0;
  made->parent_ = std::move(parent);
  made->tokens_.assign(tokens.begin(), tokens.end());
  return made;
}

// A long chain must not be freed by recursion: its last holder takes it apart link by link. Only a
// holder can make another, so that a count of one stays one.
block_key::~block_key() {
  block_key_ptr link = std::move(parent_);
  while (link && link.use_count() == 1) {
    std::atomic_thread_fence(std::memory_order_acquire);  // what former holders read of it is done
    link = block_key_ptr(std::move(link->parent_));
  }
}

bool block_key::has_same_link(const block_key& other) const {
  return hash_ == other.hash_ && model_fingerprint_ == other.model_fingerprint_ &&
         tenant_salt_ == other.tenant_salt_ && std::ranges::equal(tokens_, other.tokens_);
}

bool operator==(const block_key& left, const block_key& right) {
  const block_key* a = &left;
  const block_key* b = &right;
  while (a != b) {
    if (a == nullptr || b == nullptr || !a->has_same_link(*b)) return false;
    a = a->parent_.get();
    b = b->parent_.get();
  }
  return true;
}

std::vector<block_key_ptr> block_keys_of(std::uint64_t model_fingerprint, std::uint64_t tenant_salt,
                                         const token_view& tokens, std::uint32_t block_tokens) {
  std::vector<block_key_ptr> keys;
  if (tokens.size() == 0) return keys;
  const std::uint32_t count = (tokens.size() - 1) / block_tokens;
  keys.reserve(count);
  std::vector<token_id> scratch(block_tokens);
  for (std::uint32_t i = 0; i < count; ++i) {
    keys.push_back(block_key::make(model_fingerprint, tenant_salt, i == 0 ? nullptr : keys.back(),
                                   tokens.contiguous(i * block_tokens, block_tokens, scratch)));
  }
  return keys;
}

}  // namespace troupe
