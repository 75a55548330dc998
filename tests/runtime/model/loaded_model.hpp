// A model with its weights, and sequences that run through it in any cut, for the forward tests.
#pragma once

#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/thread_pool.hpp"
#include "runtime/model/forward.hpp"
#include "runtime/model/gguf.hpp"
#include "runtime/model/kv_cache.hpp"
#include "runtime/model/model_description.hpp"
#include "runtime/model/weights.hpp"

namespace troupe::test {

struct loaded_model {
  gguf_file file;
  model_description description;
  model_weights weights;
  isa set;

  static loaded_model open(const std::filesystem::path& path, isa set) {
    return of(gguf_file::open(path).value(), set);
  }
  static loaded_model of(gguf_file file, isa set) {
    thread_pool pool({.thread_count = 2});
    model_description description = model_description::from_gguf(file).value();
    model_weights weights = model_weights::load(file, description, set, pool).value();
    return {std::move(file), std::move(description), std::move(weights), set};
  }

  [[nodiscard]] kv_cache make_cache(std::size_t block_count,
                                    kernels::kv_dtype type = kernels::kv_dtype::f16,
                                    std::size_t block_tokens = 16) const {
    return kv_cache::create(kv_layout_for(description, type, block_tokens).value(),
                            description.layer_count, block_count)
        .value();
  }
};

/// NaN in every byte of the cache: whatever is read before it is written shows in the logits.
inline void poison(kv_cache& cache) {
  for (std::size_t i = 0; i < cache.layer_count(); ++i) {
    const kernels::kv_layer layer = cache.layer(i);
    std::memset(layer.data, 0xFF, layer.block_count * cache.layout().block_bytes());
  }
}

inline std::vector<token_id> random_tokens(std::size_t count, std::size_t vocab_size,
                                           unsigned seed) {
  std::vector<token_id> out;
  std::uint32_t state = seed * 2654435761u + 12345u;
  for (std::size_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    out.push_back(static_cast<token_id>((state >> 8) % vocab_size));
  }
  return out;
}

}  // namespace troupe::test
