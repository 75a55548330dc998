// Draws of a seeded stream, by the project's counter generator and formulas of our own: the
// standard library's distributions may differ between its implementations.
#pragma once

#include <cstdint>

#include "kernels/philox/philox_stream.hpp"

namespace troupe::simulate {

/// What is drawn. Each has a stream of its own, so that a change of one leaves the others alone.
enum class draw_stream : std::uint32_t {
  arrivals,
  prompts,
  outputs,
  lanes,
  prefixes,
  deadlines,
  steps
};

class random_draws {
 public:
  /// Streams of one seed are independent of each other.
  random_draws(std::uint64_t seed, draw_stream stream);

  double uniform();  ///< in (0, 1), 53 bits
  /// Uniform on [0, bound); bound at least 1.
  std::uint32_t below(std::uint32_t bound) { return words_.below(bound); }
  double exponential();        ///< mean 1
  double normal();             ///< mean 0, deviation 1
  double gamma(double shape);  ///< mean `shape`, scale 1; shape above 0

 private:
  philox_stream words_;
  double spare_normal_ = 0.0;
  bool has_spare_ = false;
};

}  // namespace troupe::simulate
