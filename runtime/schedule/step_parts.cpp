// A step in two parts: prompts that end in it are computed before its other rows, so that their
// first tokens do not wait for those. Where prompts keep the compute units busy by themselves, that
// costs the step one reading of the weights.
#include <algorithm>
#include <utility>

#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

/// What does not go first becomes part_behind: what no lane's first token waits for, or a more
/// important one's. Nobody waits for async's first tokens.
void scheduler_core::state::part(planned& made) {
  if (limits.first_part_tokens_min == 0) return;
  lane top = lane::async;  // the most important one that decodes, or has a prompt that goes on
  for (const sent_slice& each : sent) {
    if (!each.ends_prompt()) top = std::min(top, each.request->service());
  }
  const auto goes_first = [top](const sent_slice& each) {
    const lane service = each.request->service();
    return each.ends_prompt() && service != lane::async && service <= top;
  };
  std::uint32_t first_tokens = 0;
  for (const sent_slice& each : sent) first_tokens += goes_first(each) ? each.count : 0;
  if (first_tokens < limits.first_part_tokens_min ||
      made.whole.tokens() - first_tokens < limits.second_part_rows_min)
    return;
  step_part first, second;
  for (std::size_t i = 0; i < sent.size(); ++i)
    add_slice(made.plan.slices[i], goes_first(sent[i]) ? first.shape : second.shape);
  const double parts_ms = cost.predict_ms(first.shape) + cost.predict_ms(second.shape);
  if (step_ms_max && parts_ms > *step_ms_max) return;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    step_part& to = goes_first(sent[i]) ? first : second;
    to.slices.push_back(std::move(made.plan.slices[i]));
    to.sent.push_back(std::move(sent[i]));
  }
  made.plan.slices = std::move(first.slices);
  made.shape = first.shape;
  sent = std::move(first.sent);
  part_behind = std::move(second);
  made.behind = part_behind->slices;
}

scheduler_core::planned scheduler_core::state::second_part() {
  planned made;
  made.plan.slices = std::move(part_behind->slices);
  made.shape = part_behind->shape;
  sent = std::move(part_behind->sent);
  part_behind.reset();
  offloads_in_flight = uploads_in_flight = 0;
  made.step_ms_max = step_ms_max;
  put_in_flight(made);
  return made;
}

void scheduler_core::state::put_in_flight(planned& made) {
  shape_in_flight = made.shape;
  made.plan.id = static_cast<step_id>(next_step++);
  in_flight = made.plan.id;
}

}  // namespace troupe
