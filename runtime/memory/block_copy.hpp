// One copy of a block's K and V, for copy-on-write. Its own file because the memory folder makes
// copies and the schedule folder sends them.
#pragma once

#include "kernels/base/index_types.hpp"

namespace troupe {

struct block_copy {
  block_index from{}, to{};
};

}  // namespace troupe
