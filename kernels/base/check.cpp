#include "kernels/base/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace troupe::detail {

void check_failed(const char* file, int line, const char* expression,
                  std::string_view message) noexcept {
  std::fprintf(stderr, "troupe: broken invariant at %s:%d: %s%s%.*s\n", file, line, expression,
               message.empty() ? "" : ": ", static_cast<int>(message.size()), message.data());
  std::abort();
}

}  // namespace troupe::detail
