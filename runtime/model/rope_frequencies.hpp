// RoPE's angles for one position, with every scaling that model files ask for already applied.
#pragma once

#include <cstddef>
#include <string_view>

#include "kernels/base/result.hpp"
#include "runtime/model/metadata_reader.hpp"
#include "runtime/model/model_description.hpp"

namespace troupe {

/// Llama 3's divisors of the frequencies, float [rotated elements / 2], computed by the converter.
inline constexpr std::string_view rope_factors_tensor = "rope_freqs.weight";

struct rope_result {
  rope_description rope;
  /// What YaRN extends the context to; 0 without YaRN.
  std::size_t extended_context_length = 0;
};

/// Reads <arch>.rope.* and rope_freqs.weight. context_length is the metadata's; head_dim bounds
/// the rotated elements. Errors: corrupt, unsupported (other kinds of scaling).
result<rope_result> read_rope(const metadata_reader& metadata, rope_pairing pairing,
                              std::size_t head_dim, std::size_t context_length);

}  // namespace troupe
