// The shapes that kernels are measured at: a small model and one of the 1.5B class.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace troupe::bench {

struct model_shape {
  std::string_view name;
  std::size_t hidden_size = 0;
  std::size_t intermediate_size = 0;
  std::size_t vocab_size = 0;
  std::size_t head_count = 0;
  std::size_t kv_head_count = 0;
  std::size_t head_dim = 0;
};

inline constexpr model_shape model_shapes[] = {
    {"smollm2-135m", 576, 1536, 49152, 9, 3, 64},
    {"qwen2-1.5b", 1536, 8960, 151936, 12, 2, 128},
};

}  // namespace troupe::bench
