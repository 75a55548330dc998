#include "runtime/model/model_description.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/model/gguf_parser.hpp"
#include "runtime/model/metadata_reader.hpp"
#include "runtime/model/rope_frequencies.hpp"

namespace troupe {

namespace {

enum class presence : std::uint8_t { never, optional, required };

// All rows are decoders of the Llama shape: RMS norm, RoPE, grouped-query attention, SwiGLU. A row
// says in what an architecture differs.
struct architecture_row {
  std::string_view name;
  rope_pairing pairing;
  presence qkv_bias;
  presence qk_norm;
};

constexpr std::array architectures = {
    architecture_row{"llama", rope_pairing::interleaved, presence::optional, presence::never},
    architecture_row{"qwen2", rope_pairing::halves, presence::required, presence::never},
    architecture_row{"qwen3", rope_pairing::halves, presence::optional, presence::required},
};

result<architecture_row> find_row(const gguf_file& file) {
  TROUPE_TRY(const std::string name, file.get_string("general.architecture"));
  for (const architecture_row& row : architectures) {
    if (row.name == name) return row;
  }
  return error{
      errc::unsupported,
      fmt::format("{}: the architecture {} is not supported; this build serves {}", file.name(),
                  printable(name), fmt::join(supported_architectures(), ", "))};
}

result<std::size_t> read_head_dim(const metadata_reader& metadata, const model_description& model) {
  TROUPE_TRY(const std::size_t key_length,
             metadata.get_size("attention.key_length", limits::model_head_dim_max,
                               model.hidden_size / model.head_count));
  TROUPE_TRY(const std::size_t value_length,
             metadata.get_size("attention.value_length", limits::model_head_dim_max, key_length));
  if (!metadata.has("attention.key_length") && model.hidden_size % model.head_count != 0) {
    return error{errc::corrupt,
                 fmt::format("{}: {} heads do not divide the hidden size {}, and {} is missing",
                             metadata.file().name(), model.head_count, model.hidden_size,
                             metadata.key("attention.key_length"))};
  }
  if (key_length != value_length) {
    return error{errc::unsupported,
                 fmt::format("{}: keys of {} and values of {} elements a head; they must be equal",
                             metadata.file().name(), key_length, value_length)};
  }
  return key_length;
}

// Features that would change the results silently if they were ignored.
result<> refuse_unknown_features(const metadata_reader& metadata) {
  const gguf_file& file = metadata.file();
  for (const char* suffix : {"expert_count", "attention.sliding_window"}) {
    if (!metadata.has(suffix)) continue;
    TROUPE_TRY(const std::uint64_t value, file.get_unsigned(metadata.key(suffix)));
    if (value != 0) {
      return error{errc::unsupported,
                   fmt::format("{}: {} is {}; this build supports only models without it",
                               file.name(), metadata.key(suffix), value)};
    }
  }
  if (metadata.has("attention.causal")) {
    TROUPE_TRY(const bool causal, file.get_bool(metadata.key("attention.causal")));
    if (!causal) {
      return error{errc::unsupported,
                   fmt::format("{}: {} is false; only causal language models are served",
                               file.name(), metadata.key("attention.causal"))};
    }
  }
  return {};
}

result<> read_sizes(const metadata_reader& metadata, model_description& model) {
  TROUPE_TRY(model.layer_count, metadata.get_size("block_count", limits::model_layer_count_max));
  TROUPE_TRY(model.hidden_size,
             metadata.get_size("embedding_length", limits::model_hidden_size_max));
  TROUPE_TRY(model.intermediate_size,
             metadata.get_size("feed_forward_length", limits::model_intermediate_size_max));
  TROUPE_TRY(model.head_count,
             metadata.get_size("attention.head_count", limits::model_head_count_max));
  TROUPE_TRY(
      model.kv_head_count,
      metadata.get_size("attention.head_count_kv", limits::model_head_count_max, model.head_count));
  if (model.head_count % model.kv_head_count != 0) {
    return error{errc::corrupt,
                 fmt::format("{}: {} KV heads do not divide {} heads ({})", metadata.file().name(),
                             model.kv_head_count, model.head_count,
                             metadata.key("attention.head_count_kv"))};
  }
  TROUPE_TRY(model.head_dim, read_head_dim(metadata, model));
  TROUPE_TRY(model.context_length,
             metadata.get_size("context_length", limits::model_context_tokens_max));
  TROUPE_TRY(const double epsilon, metadata.get_positive("attention.layer_norm_rms_epsilon",
                                                         limits::model_rms_epsilon_max));
  model.rms_epsilon = static_cast<float>(epsilon);
  return {};
}

// Looks up the tensors that a model needs and remembers which it saw.
class tensor_checker {
 public:
  explicit tensor_checker(const gguf_file& file) : file_(file) {}

  // A matrix of row_count x column_count in any type that the reader knows.
  result<> matrix(std::string_view name, std::size_t row_count, std::size_t column_count) {
    return check(name, {column_count, row_count}, false);
  }
  // Norm weights and biases: one row of float, as every converter writes them.
  result<> vector(std::string_view name, std::size_t count) {
    return check(name, {count, 1}, true);
  }

  [[nodiscard]] bool has(std::string_view name) const { return file_.find_tensor(name) != nullptr; }
  void see(std::string_view name) {
    if (const gguf_tensor* tensor = file_.find_tensor(name)) seen_.insert(tensor);
  }

  // A tensor that nothing reads belongs to a part of the model that we would leave out.
  result<> refuse_unseen(std::string_view architecture) const {
    for (const gguf_tensor& tensor : file_.tensors()) {
      if (seen_.contains(&tensor)) continue;
      // Old converters stored the plain RoPE frequencies, which the metadata gives too.
      if (tensor.name.find(".attn_rot_embd") != std::string::npos) continue;
      return error{errc::unsupported,
                   fmt::format("{}: tensor {} is not part of a {} model as this build knows it",
                               file_.name(), printable(tensor.name), architecture)};
    }
    return {};
  }

 private:
  result<> check(std::string_view name, std::array<std::uint64_t, 2> expected, bool must_be_float) {
    const gguf_tensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) {
      return error{errc::corrupt, fmt::format("{}: tensor {} is missing", file_.name(), name)};
    }
    seen_.insert(tensor);
    // Dimensions past the second may only be 1: row_count() multiplies them.
    if (tensor->column_count() != expected[0] || tensor->row_count() != expected[1] ||
        (tensor->dimensions.size() > 1 && tensor->dimensions[1] != expected[1])) {
      return error{
          errc::corrupt,
          fmt::format("{}: tensor {} has the shape [{}]; expected [{}, {}]", file_.name(), name,
                      fmt::join(tensor->dimensions, ", "), expected[0], expected[1])};
    }
    if (must_be_float && tensor->type != dtype::f32) {
      return error{errc::unsupported,
                   fmt::format("{}: tensor {} has the type {}; expected F32", file_.name(), name,
                               layout_of(tensor->type)->name)};
    }
    return {};
  }

  const gguf_file& file_;
  std::set<const gguf_tensor*> seen_;
};

// Resolves an optional part by the first layer's tensor; the other layers then have to agree.
bool resolve(const tensor_checker& tensors, presence wanted, std::string_view first_tensor) {
  if (wanted == presence::required) return true;
  return wanted == presence::optional && tensors.has(first_tensor);
}

result<> check_layer(tensor_checker& tensors, const model_description& model, std::size_t layer) {
  const std::size_t hidden = model.hidden_size;
  const std::size_t query = model.head_count * model.head_dim;
  const std::size_t key_value = model.kv_head_count * model.head_dim;
  const auto named = [&](std::string_view part) { return fmt::format("blk.{}.{}", layer, part); };
  TROUPE_TRY_VOID(tensors.vector(named("attn_norm.weight"), hidden));
  TROUPE_TRY_VOID(tensors.matrix(named("attn_q.weight"), query, hidden));
  TROUPE_TRY_VOID(tensors.matrix(named("attn_k.weight"), key_value, hidden));
  TROUPE_TRY_VOID(tensors.matrix(named("attn_v.weight"), key_value, hidden));
  TROUPE_TRY_VOID(tensors.matrix(named("attn_output.weight"), hidden, query));
  if (model.has_qkv_bias) {
    TROUPE_TRY_VOID(tensors.vector(named("attn_q.bias"), query));
    TROUPE_TRY_VOID(tensors.vector(named("attn_k.bias"), key_value));
    TROUPE_TRY_VOID(tensors.vector(named("attn_v.bias"), key_value));
  }
  if (model.has_qk_norm) {
    TROUPE_TRY_VOID(tensors.vector(named("attn_q_norm.weight"), model.head_dim));
    TROUPE_TRY_VOID(tensors.vector(named("attn_k_norm.weight"), model.head_dim));
  }
  TROUPE_TRY_VOID(tensors.vector(named("ffn_norm.weight"), hidden));
  TROUPE_TRY_VOID(tensors.matrix(named("ffn_gate.weight"), model.intermediate_size, hidden));
  TROUPE_TRY_VOID(tensors.matrix(named("ffn_up.weight"), model.intermediate_size, hidden));
  TROUPE_TRY_VOID(tensors.matrix(named("ffn_down.weight"), hidden, model.intermediate_size));
  return {};
}

// The embedding's rows are the vocabulary; the tokenizer's list and the metadata have to agree.
result<std::size_t> read_vocab_size(const metadata_reader& metadata) {
  const gguf_file& file = metadata.file();
  const gguf_tensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr) {
    return error{errc::corrupt,
                 fmt::format("{}: tensor token_embd.weight is missing", file.name())};
  }
  const std::uint64_t rows = embedding->row_count();
  if (rows > limits::model_vocab_size_max) {
    return error{errc::corrupt,
                 fmt::format("{}: token_embd.weight has {} rows; at most {} are allowed",
                             file.name(), rows, limits::model_vocab_size_max)};
  }
  const auto disagree = [&](std::string_view key, std::uint64_t count) {
    return error{errc::corrupt,
                 fmt::format("{}: {} says {} tokens, and token_embd.weight has {} rows",
                             file.name(), key, count, rows)};
  };
  if (file.find("tokenizer.ggml.tokens") != nullptr) {
    TROUPE_TRY(const auto* tokens, file.get_strings("tokenizer.ggml.tokens"));
    if (tokens->size() != rows) return disagree("tokenizer.ggml.tokens", tokens->size());
  }
  TROUPE_TRY(const std::size_t declared,
             metadata.get_size("vocab_size", limits::model_vocab_size_max, rows));
  if (declared != rows) return disagree(metadata.key("vocab_size"), declared);
  return static_cast<std::size_t>(rows);
}

result<> check_tensors(const metadata_reader& metadata, const architecture_row& row,
                       model_description& model) {
  tensor_checker tensors(metadata.file());
  TROUPE_TRY(model.vocab_size, read_vocab_size(metadata));
  TROUPE_TRY_VOID(tensors.matrix("token_embd.weight", model.vocab_size, model.hidden_size));
  TROUPE_TRY_VOID(tensors.vector("output_norm.weight", model.hidden_size));
  model.has_tied_embedding = !tensors.has("output.weight");
  if (!model.has_tied_embedding) {
    TROUPE_TRY_VOID(tensors.matrix("output.weight", model.vocab_size, model.hidden_size));
  }
  model.has_qkv_bias = resolve(tensors, row.qkv_bias, "blk.0.attn_q.bias");
  model.has_qk_norm = resolve(tensors, row.qk_norm, "blk.0.attn_q_norm.weight");
  for (std::size_t layer = 0; layer < model.layer_count; ++layer) {
    TROUPE_TRY_VOID(check_layer(tensors, model, layer));
  }
  tensors.see(rope_factors_tensor);
  return tensors.refuse_unseen(row.name);
}

}  // namespace

result<model_description> model_description::from_gguf(const gguf_file& file) {
  TROUPE_TRY(const architecture_row row, find_row(file));
  model_description model;
  model.architecture = row.name;
  if (file.find("general.name") != nullptr) {
    TROUPE_TRY(model.name, file.get_string("general.name"));
  }
  const metadata_reader metadata(file, model.architecture);
  TROUPE_TRY_VOID(refuse_unknown_features(metadata));
  TROUPE_TRY_VOID(read_sizes(metadata, model));
  TROUPE_TRY(rope_result rope,
             read_rope(metadata, row.pairing, model.head_dim, model.context_length));
  model.rope = std::move(rope.rope);
  model.context_length = std::max(model.context_length, rope.extended_context_length);
  TROUPE_TRY_VOID(check_tensors(metadata, row, model));
  return model;
}

std::vector<std::string_view> supported_architectures() {
  std::vector<std::string_view> names;
  for (const architecture_row& row : architectures) names.push_back(row.name);
  return names;
}

}  // namespace troupe
