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
  /// Parameters under which a sequence ends after so many tokens.
  std::shared_ptr<const generation_params> params_of(std::uint32_t output_tokens);

 private:
  std::uint64_t seed_;
  bool distinct_;
  std::vector<tokens> by_length_;
  std::vector<std::shared_ptr<const generation_params>> by_output_;
};

}  // namespace troupe::simulate
