#include "bench/kernels/kernel_runner.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace troupe::bench {

bool kernel_runner::wants(const std::string& name) const {
  return std::regex_search(name, options_.only);
}

bool kernel_runner::wants_any(const std::vector<std::string>& names) const {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return wants(name); });
}

void kernel_runner::run(const std::string& name, const kernel_work& work,
                        const std::function<void()>& body, std::size_t token_count) {
  if (!wants(name)) return;
  show_progress(name);
  const repeated_timing timing = time_repeatedly(options_.budget, body);
  measurements_.push_back(
      {.name = name, .work = work, .timing = timing, .token_count = token_count});
}

void show_progress(const std::string& text) {
  static const bool is_terminal = ::isatty(STDERR_FILENO) == 1;
  if (is_terminal) std::fprintf(stderr, "\r\033[K%s", text.c_str());
}

}  // namespace troupe::bench
