// The parts of a scenario that say who serves: the model, and one entry of `ways`.
#pragma once

#include <array>

#include "runtime/simulate/scenario.hpp"
#include "runtime/simulate/section_reader.hpp"

namespace troupe::simulate {

void read_model(section_reader& from, model_shape& to);
/// `lanes`: the server's, with the scenario's targets, which the way's settings are laid over.
way read_way(section_reader& from, const std::array<lane_config, lane_count>& lanes);

}  // namespace troupe::simulate
