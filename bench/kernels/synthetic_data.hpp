// Numbers to compute with: ordinary ones, so that no kernel meets a NaN, an infinity or a
// subnormal.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/base/dtype.hpp"

namespace troupe::bench {

/// Bytes between 0x20 and 0x3F: small positive numbers as f32, f16, bf16 and f8, any quantized
/// block too.
void fill_weight_bytes(std::span<std::byte> bytes);

/// Whole blocks of a type. Those with minima are like a model's: zero lies between their weights.
void fill_weights(dtype type, std::span<std::byte> blocks);

/// Uniform in [-1, 1).
std::vector<float> some_floats(std::size_t count);

/// Rows of logits, bell-shaped with a standard deviation of about 2.5. A peaked row has a thousand
/// likely tokens above that, whose probabilities fall by a power of their rank, as those of text
/// do.
enum class logits_shape { flat, peaked };
std::vector<float> some_logits(std::size_t row_count, std::size_t vocab_size, logits_shape shape);

}  // namespace troupe::bench
