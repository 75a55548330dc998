#include "runtime/model/weights.hpp"

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "kernels/dequantize/dequantize.hpp"

namespace troupe {

namespace {

using kernels::packed_matrix;

class loader {
 public:
  loader(const gguf_file& file, isa set, thread_pool& pool,
         const std::function<void(float)>& progress)
      : file_(file), set_(set), pool_(pool), progress_(progress) {
    for (const gguf_tensor& tensor : file.tensors()) bytes_total_ += tensor.data.size();
  }

  result<const gguf_tensor*> find(std::string_view name) const {
    const gguf_tensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) {
      return error{errc::corrupt,
                   fmt::format("tensor {} is missing; the model file is incomplete", name)};
    }
    return tensor;
  }

  result<packed_matrix> matrix(std::string_view name) {
    TROUPE_TRY(const gguf_tensor* tensor, find(name));
    auto packed = packed_matrix::pack(set_, tensor->type, tensor->data, tensor->row_count(),
                                      tensor->column_count(), pool_, arena_);
    if (!packed) {
      return error{packed.failure().code,
                   fmt::format("tensor {}: {}", name, packed.failure().message)};
    }
    advance(*tensor);
    return packed;
  }

  result<aligned_buffer<float>> vector(std::string_view name) {
    TROUPE_TRY(const gguf_tensor* tensor, find(name));
    aligned_buffer<float> out(tensor->column_count());
    auto read = kernels::dequantize_row(tensor->type, tensor->data, out.span());
    if (!read) {
      return error{read.failure().code, fmt::format("tensor {}: {}", name, read.failure().message)};
    }
    advance(*tensor);
    return out;
  }

  result<layer_weights> layer(std::size_t index, const model_description& description) {
    const auto named = [&](std::string_view part) { return fmt::format("blk.{}.{}", index, part); };
    TROUPE_TRY(auto query, matrix(named("attn_q.weight")));
    TROUPE_TRY(auto key, matrix(named("attn_k.weight")));
    TROUPE_TRY(auto value, matrix(named("attn_v.weight")));
    TROUPE_TRY(auto output, matrix(named("attn_output.weight")));
    TROUPE_TRY(auto gate, matrix(named("ffn_gate.weight")));
    TROUPE_TRY(auto up, matrix(named("ffn_up.weight")));
    TROUPE_TRY(auto down, matrix(named("ffn_down.weight")));
    layer_weights out{.query = std::move(query),
                      .key = std::move(key),
                      .value = std::move(value),
                      .output = std::move(output),
                      .gate = std::move(gate),
                      .up = std::move(up),
                      .down = std::move(down),
                      .attention_norm = {},
                      .feed_forward_norm = {},
                      .query_bias = {},
                      .key_bias = {},
                      .value_bias = {},
                      .query_norm = {},
                      .key_norm = {}};
    TROUPE_TRY(out.attention_norm, vector(named("attn_norm.weight")));
    TROUPE_TRY(out.feed_forward_norm, vector(named("ffn_norm.weight")));
    if (description.has_qkv_bias) {
      TROUPE_TRY(out.query_bias, vector(named("attn_q.bias")));
      TROUPE_TRY(out.key_bias, vector(named("attn_k.bias")));
      TROUPE_TRY(out.value_bias, vector(named("attn_v.bias")));
    }
    if (description.has_qk_norm) {
      TROUPE_TRY(out.query_norm, vector(named("attn_q_norm.weight")));
      TROUPE_TRY(out.key_norm, vector(named("attn_k_norm.weight")));
    }
    return out;
  }

 private:
  void advance(const gguf_tensor& tensor) {
    bytes_done_ += tensor.data.size();
    if (progress_) {
      progress_(
          static_cast<float>(static_cast<double>(bytes_done_) / static_cast<double>(bytes_total_)));
    }
  }

  const gguf_file& file_;
  isa set_;
  thread_pool& pool_;
  const std::function<void(float)>& progress_;
  std::shared_ptr<page_arena> arena_ = std::make_shared<page_arena>();
  std::size_t bytes_total_ = 0;
  std::size_t bytes_done_ = 0;
};

}  // namespace

result<model_weights> model_weights::load(const gguf_file& file,
                                          const model_description& description, isa set,
                                          thread_pool& pool,
                                          const std::function<void(float)>& progress) {
  loader from(file, set, pool, progress);
  if (progress) progress(0.0f);
  model_weights out;
  out.set_ = set;
  TROUPE_TRY(const gguf_tensor* embedding, from.find("token_embd.weight"));
  const auto layout = layout_of(embedding->type);
  TROUPE_CHECK(layout.has_value());
  out.embedding_ = embedding->data;
  out.embedding_type_ = embedding->type;
  out.embedding_row_bytes_ = description.hidden_size / layout->block_elements * layout->block_bytes;
  out.vocab_size_ = description.vocab_size;
  TROUPE_CHECK(out.embedding_.size() == out.embedding_row_bytes_ * out.vocab_size_);
  out.layers_.reserve(description.layer_count);
  for (std::size_t index = 0; index < description.layer_count; ++index) {
    TROUPE_TRY(layer_weights layer, from.layer(index, description));
    out.layers_.push_back(std::move(layer));
  }
  TROUPE_TRY(out.output_norm_, from.vector("output_norm.weight"));
  TROUPE_TRY(packed_matrix head,
             from.matrix(description.has_tied_embedding ? "token_embd.weight" : "output.weight"));
  out.head_.emplace(std::move(head));
  if (progress) progress(1.0f);
  return out;
}

std::size_t model_weights::size_bytes() const {
  std::size_t bytes = head_->size_bytes();
  for (const layer_weights& layer : layers_) {
    for (const packed_matrix* matrix : layer.matrices()) {
      bytes += matrix->size_bytes();
    }
  }
  return bytes;
}

void model_weights::read_embedding(token_id token, std::span<float> out) const {
  TROUPE_CHECK(to_index(token) < vocab_size_);
  const auto row = embedding_.subspan(to_index(token) * embedding_row_bytes_, embedding_row_bytes_);
  kernels::dequantize_row(embedding_type_, row, out).value();
}

}  // namespace troupe
