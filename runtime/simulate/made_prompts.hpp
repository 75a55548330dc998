// Token ids for simulated prompts. Without prefix caching nobody looks at them, so that all prompts
// of a length are one vector; with it, every prompt has tokens of its own behind what it shares.
#pragma once

#include <memory>
#include <vector>

#include "runtime/decode/generation_params.hpp"
#include "runtime/simulate/virtual_request.hpp"

namespace troupe::simulate {

class made_prompts {
 public:
  using tokens = std::shared_ptr<const std::vector<token_id>>;

  made_prompts(std::uint64_t seed, bool distinct) : seed_(seed), distinct_(distinct) {}

  /// `place`: of the request in its workload.
  tokens prompt_of(const virtual_request& request, std::size_t place);
  /// Parameters under which a sequence ends after so many tokens; where more are asked for, by
  /// end_of_answer, and nobody knows before. asked_tokens 0: exactly output_tokens are asked for.
  std::shared_ptr<const generation_params> params_of(std::uint32_t output_tokens,
                                                     std::uint32_t asked_tokens);

  /// The token that ends an answer, and one that does not.
  static constexpr token_id end_of_answer{1}, plain_token{0};

 private:
  std::uint64_t seed_;
  bool distinct_;
  std::vector<tokens> by_length_;
  using params_ptr = std::shared_ptr<const generation_params>;
  std::vector<params_ptr> by_output_, by_asked_;  ///< by max_tokens
};

}  // namespace troupe::simulate
