// A step in two parts: prompts that end in it are computed before its other rows, so that their
// first tokens do not wait for those. Where prompts keep the compute units busy by themselves, that
// costs the step one reading of the weights.
#include <algorithm>

#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

/// What does not go first becomes part_behind: what no lane's first token waits for, or a more
/// important one's. Nobody waits for async's first tokens.
void scheduler_core::state::part(step_plan& plan) {
  if (limits.first_part_tokens_min == 0) return;
  lane top = lane::async;  // the most important one that decodes, or has a prompt that goes on
  for (const sent_slice& each : sent) {
    if (!each.ends_prompt()) top = std::min(top, each.request->service());
  }
  const auto goes_first = [top](const sent_slice& each) {
    const lane service = each.request->service();
    return each.ends_prompt() && service != lane::async && service <= top;
  };
  step_shape first_shape, second_shape;
  for (std::size_t i = 0; i < sent.size(); ++i)
    add_slice(plan.slices[i], goes_first(sent[i]) ? first_shape : second_shape);
  if (first_shape.tokens() < limits.first_part_tokens_min ||
      second_shape.tokens() < limits.second_part_rows_min)
    return;
  const double parts_ms = cost.predict_ms(first_shape) + cost.predict_ms(second_shape);
  if (step_ms_max && parts_ms > *step_ms_max) return;
  step_part first;
  part_behind.emplace();
  for (std::size_t i = 0; i < sent.size(); ++i) {
    step_part& to = goes_first(sent[i]) ? first : *part_behind;
    to.slices.push_back(std::move(plan.slices[i]));
    to.sent.push_back(std::move(sent[i]));
  }
  plan.slices = std::move(first.slices);
  sent = std::move(first.sent);
}

scheduler_core::planned scheduler_core::state::second_part() {
  planned made;
  made.plan.slices = std::move(part_behind->slices);
  sent = std::move(part_behind->sent);
  part_behind.reset();
  offloads_in_flight = uploads_in_flight = 0;
  made.step_ms_max = step_ms_max;
  put_in_flight(made);
  return made;
}

void scheduler_core::state::put_in_flight(planned& made) {
  made.shape = shape_in_flight = shape_of(made.plan);
  made.plan.id = static_cast<step_id>(next_step++);
  in_flight = made.plan.id;
}

}  // namespace troupe
