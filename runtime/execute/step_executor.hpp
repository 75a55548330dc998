// What a worker does with a sealed step plan. The actor owns the thread; this owns the arithmetic.
#pragma once

#include "runtime/schedule/step.hpp"

namespace troupe {

class step_executor {
 public:
  virtual ~step_executor() = default;
  /// Executes the plan and returns one slice_result for each slice, in order. May throw: then the
  /// worker dies, the supervisor makes a new executor, and every request is recomputed from its
  /// tokens.
  virtual step_result execute(const step_plan& plan) = 0;
};

}  // namespace troupe
