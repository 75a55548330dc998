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
                        const std::function<void()>& body) {
  if (!wants(name)) return;
  show_progress(name);
  measurements_.push_back(
      {.name = name, .work = work, .timing = time_repeatedly(options_.budget, body)});
}

void kernel_runner::run_in_turn(std::span<const kernel_part> parts) {
  std::vector<std::string> names;
  std::vector<std::function<void()>> bodies;
  for (const kernel_part& part : parts) {
    names.push_back(part.name);
    bodies.push_back(part.body);
  }
  if (!wants_any(names)) return;
  show_progress(names.front());
  const auto timings = time_in_turn(options_.budget, bodies);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (!wants(names[i])) continue;
    measurements_.push_back({.name = names[i],
                             .work = parts[i].work,
                             .timing = timings[i],
                             .token_count = parts[i].token_count});
  }
}

void show_progress(const std::string& text) {
  static const bool is_terminal = ::isatty(STDERR_FILENO) == 1;
  if (is_terminal) std::fprintf(stderr, "\r\033[K%s", text.c_str());
}

}  // namespace troupe::bench
