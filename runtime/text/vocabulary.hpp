// What a GGUF file says about its tokenizer, read and checked once: tokenizer.ggml.* as plain data.
// Later code may rely on every id being inside the vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kernels/base/index_types.hpp"
#include "kernels/base/result.hpp"
#include "runtime/model/gguf.hpp"

namespace troupe {

/// The numbers of tokenizer.ggml.token_type.
enum class token_kind : std::uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6,
};

struct vocabulary {
  std::string model;          ///< tokenizer.ggml.model: "gpt2" or "llama"
  std::string pre_tokenizer;  ///< tokenizer.ggml.pre; "default" where the file has none

  std::vector<std::string> texts;  ///< as the file spells them
  std::vector<token_kind> kinds;  ///< as many; the ids below marked control, whatever the file says
  std::vector<float> scores;      ///< as many, or empty
  std::vector<std::string> merges;

  /// The last id of a text that occurs twice, as a dictionary would have it. Views into `texts`.
  std::unordered_map<std::string_view, token_id> ids;

  std::optional<token_id> bos, eos, unknown, padding;
  std::vector<token_id>
      end_of_generation;  ///< ascending; eos, eot, eom and texts known to end a turn
  std::optional<bool> add_bos, add_eos, add_space_prefix;  ///< absent: the kind decides

  [[nodiscard]] std::size_t size() const noexcept { return texts.size(); }
  [[nodiscard]] std::optional<token_id> find(std::string_view text) const;
};

/// Errors: not_found and corrupt name the key; unsupported past config/limits.hpp.
/// A vocabulary is neither copied nor moved after this (ids holds views), hence the pointer.
result<std::unique_ptr<vocabulary>> read_vocabulary(const gguf_file& file);

}  // namespace troupe
