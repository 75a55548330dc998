// Everything that is read from a model file once and shared by every replica, gateway and API:
// weights, tokenizer, chat template, description. Outlives workers, so that a restart costs no
// reload.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "kernels/base/cpu_features.hpp"
#include "kernels/base/result.hpp"
#include "kernels/base/thread_pool.hpp"
#include "runtime/model/gguf.hpp"
#include "runtime/model/model_description.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/text/chat_template.hpp"
#include "runtime/text/tokenizer.hpp"

namespace troupe {

struct loaded_model {
  gguf_file file;  ///< kept mapped: the embedding rows are read from it
  model_description description;
  model_weights weights;
  std::shared_ptr<const tokenizer> tokens;
  std::shared_ptr<const chat_template> chat;  ///< null where the file has none
  std::uint64_t fingerprint = 0;              ///< over the file and what its numbers depend on

  /// progress is called with 0..1 from the loading thread.
  static result<std::shared_ptr<const loaded_model>> load(
      const std::filesystem::path& path, isa set, thread_pool& pool,
      const std::function<void(float)>& progress);
};

}  // namespace troupe
