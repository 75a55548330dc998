// What the shell sees. Also printed by `troupe --help`.
#pragma once

#include "kernels/base/result.hpp"

namespace troupe::cli {

inline constexpr int exit_ok = 0;
inline constexpr int exit_failure = 1;      ///< the request or the command failed
inline constexpr int exit_usage = 2;        ///< wrong arguments or configuration
inline constexpr int exit_model = 3;        ///< the model is missing, corrupt or not supported
inline constexpr int exit_unreachable = 4;  ///< no server answers, or an address is in use
inline constexpr int exit_memory = 5;       ///< not enough memory
inline constexpr int exit_engine = 70;      ///< the engine failed and could not be restarted

inline int exit_code_of(const error& failure) {
  switch (failure.code) {
    case errc::invalid_argument: return exit_usage;
    case errc::not_found:
    case errc::corrupt:
    case errc::unsupported: return exit_model;
    case errc::unavailable:
    case errc::deadline_exceeded: return exit_unreachable;
    case errc::out_of_memory: return exit_memory;
    default: return exit_failure;
  }
}

}  // namespace troupe::cli
