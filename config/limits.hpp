// Every bound that Troupe puts on what it reads, queues, stores or waits for. Code names these
// constants instead of writing numbers, so that this page is the whole list.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::limits {

// Model files (runtime/model/gguf). A reader never allocates more than a small multiple of the
// file's own bytes; these bounds keep the work finite for files that are huge as well as hostile.

/// Metadata entries of one file. Real files have 20 to 60.
inline constexpr std::uint64_t gguf_entry_count_max = 65'536;
/// The format allows keys of 2^16 - 1 bytes.
inline constexpr std::uint64_t gguf_key_bytes_max = 65'535;
/// One string value. The longest in use are chat templates of tens of kilobytes.
inline constexpr std::uint64_t gguf_string_bytes_max = std::uint64_t{1} << 24;
/// Elements of all metadata arrays of a file together. The largest vocabularies have 262,144 tokens
/// and 520,000 merges; an array element takes at most 32 bytes in memory, so this is at most 512
/// MiB.
inline constexpr std::uint64_t gguf_array_elements_max = std::uint64_t{1} << 24;
/// Tensors of one file. A 126-layer model has about 1,200.
inline constexpr std::uint64_t gguf_tensor_count_max = 65'536;
/// The format gives 64 bytes to a tensor's name; some writers use more.
inline constexpr std::uint64_t gguf_tensor_name_bytes_max = 128;
inline constexpr std::uint32_t gguf_tensor_dimensions_max = 4;
/// Elements of one tensor: keeps every later product of sizes far from overflow.
inline constexpr std::uint64_t gguf_tensor_elements_max = std::uint64_t{1} << 48;
/// general.alignment: a multiple of 8 by the format; above a page it only wastes space.
inline constexpr std::uint64_t gguf_alignment_bytes_min = 8;
inline constexpr std::uint64_t gguf_alignment_bytes_max = 65'536;

// Model shapes (runtime/model/model_description): wide of every published model, and small enough
// that products of any three fit in 64 bits.

inline constexpr std::uint64_t model_layer_count_max = 1'024;
inline constexpr std::uint64_t model_hidden_size_max = std::uint64_t{1} << 17;
inline constexpr std::uint64_t model_intermediate_size_max = std::uint64_t{1} << 20;
inline constexpr std::uint64_t model_head_count_max = 1'024;
inline constexpr std::uint64_t model_head_dim_max = 1'024;
/// Token ids are 32-bit and signed; the largest vocabularies have 262,144 tokens.
inline constexpr std::uint64_t model_vocab_size_max = std::uint64_t{1} << 22;
/// Positions are counted in 32 bits and multiplied by frequencies in double.
inline constexpr std::uint64_t model_context_tokens_max = std::uint64_t{1} << 28;
inline constexpr double model_rms_epsilon_max = 0.1;
inline constexpr double model_rope_base_max = 1e12;
/// Factors of linear, llama3 and YaRN scaling. Published ones are 1 to 64.
inline constexpr double model_rope_factor_max = 4'096.0;
/// YaRN's bounds in rotations over the original context. Published: 32 and 1.
inline constexpr double model_yarn_beta_max = 1e6;

}  // namespace troupe::limits
