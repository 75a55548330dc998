#include "runtime/execute/loaded_model.hpp"

#include "kernels/base/hash.hpp"

namespace troupe {

namespace {

/// Part of the numerics id: a new revision of the kernels' arithmetic must not meet old cached
/// blocks.
constexpr std::uint64_t kernel_revision = 3;

}  // namespace

result<std::shared_ptr<const loaded_model>> loaded_model::load(
    const std::filesystem::path& path, isa set, thread_pool& pool,
    const std::function<void(float)>& progress) {
  TROUPE_TRY(auto file, gguf_file::open(path));
  TROUPE_TRY(auto description, model_description::from_gguf(file));
  TROUPE_TRY(auto tokens, tokenizer::from_gguf(file));
  std::shared_ptr<const chat_template> chat;
  if (file.find("tokenizer.chat_template") != nullptr) {
    TROUPE_TRY(auto source, file.get_string("tokenizer.chat_template"));
    TROUPE_TRY(auto parsed, chat_template::parse(std::move(source)));
    chat = std::make_shared<const chat_template>(std::move(parsed));
  }
  TROUPE_TRY(auto weights, model_weights::load(file, description, set, pool, progress));
  const std::uint64_t fingerprint =
      mix_bits(file.fingerprint() + mix_bits(kernel_revision) + static_cast<std::uint64_t>(set) +
               (static_cast<std::uint64_t>(kernels::faster_minima(set)) << 32));
  file.release_pages();  // the weights are copies; of the file only rows of the embedding are read
                         // from here on
  return std::shared_ptr<const loaded_model>(
      new loaded_model{std::move(file), std::move(description), std::move(weights),
                       std::move(tokens), std::move(chat), fingerprint});
}

}  // namespace troupe
