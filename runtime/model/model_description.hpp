// What a model is, read from GGUF metadata: sizes, attention shape, RoPE, and which optional parts
// its architecture has. Adding an architecture means adding one row to the table in
// model_description.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/result.hpp"
#include "runtime/model/gguf.hpp"

namespace troupe {

/// How RoPE pairs the elements of a head.
enum class rope_pairing : std::uint8_t {
  interleaved,  ///< (0,1), (2,3), ...: llama files, whose Q and K rows are permuted for it
  halves,       ///< (0, d/2), (1, d/2+1), ...: qwen2, qwen3 ("neox")
};

struct rope_description {
  rope_pairing pairing = rope_pairing::interleaved;
  std::size_t dimension_count = 0;  ///< rotated elements at the front of a head, even
  /// Angle of pair i at position p = p * frequencies[i] (dimension_count / 2 values, in double;
  /// base, linear, llama3 (rope_freqs.weight) and YaRN scaling are already applied).
  std::vector<double> frequencies;
  float attention_factor = 1.0f;  ///< multiplies cos and sin (YaRN); 1 elsewhere
};

struct model_description {
  std::string architecture;  ///< "llama", "qwen2", "qwen3"
  std::string name;          ///< general.name, may be empty
  std::size_t layer_count = 0;
  std::size_t hidden_size = 0;
  std::size_t intermediate_size = 0;
  std::size_t head_count = 0;
  std::size_t kv_head_count = 0;  ///< divides head_count
  std::size_t head_dim = 0;       ///< of Q, K and V alike
  std::size_t vocab_size = 0;
  std::size_t context_length = 0;  ///< trained length, tokens (YaRN's extension included)
  float rms_epsilon = 0.0f;
  rope_description rope;
  bool has_qkv_bias = false;        ///< blk.N.attn_{q,k,v}.bias
  bool has_qk_norm = false;         ///< blk.N.attn_{q,k}_norm.weight, over head_dim, before RoPE
  bool has_tied_embedding = false;  ///< no output.weight: the LM head is token_embd.weight

  /// Reads and validates the metadata and every needed tensor's presence and shape, so that loading
  /// weights afterwards cannot meet a surprise. Errors name the key or tensor, what was found and
  /// what was expected.
  static result<model_description> from_gguf(const gguf_file& file);
};

/// The architectures that from_gguf accepts, for messages and documents.
std::vector<std::string_view> supported_architectures();

}  // namespace troupe
