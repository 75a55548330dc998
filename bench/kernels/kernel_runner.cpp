#include "bench/kernels/kernel_runner.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace troupe::bench {

namespace {

/// What memory gave after a case holds for the next one if that begins within it.
constexpr std::chrono::milliseconds memory_rate_age_max{20};

}  // namespace

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
  const double before = memory_rate_before();
  add_measurements({{.name = name, .work = work, .timing = time_repeatedly(options_.budget, body)}},
                   before);
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
  const double before = memory_rate_before();
  const auto timings = time_in_turn(options_.budget, bodies);
  std::vector<kernel_measurement> measured;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (!wants(names[i])) continue;
    measured.push_back({.name = names[i],
                        .work = parts[i].work,
                        .timing = timings[i],
                        .token_count = parts[i].token_count});
  }
  add_measurements(std::move(measured), before);
}

double kernel_runner::memory_rate_before() {
  const bool is_recent = clock::now() - last_case_end_ < memory_rate_age_max;
  return is_recent ? last_memory_rate_ : options_.memory_rate();
}

void kernel_runner::add_measurements(std::vector<kernel_measurement> measured, double rate_before) {
  last_memory_rate_ = options_.memory_rate();
  last_case_end_ = clock::now();
  for (kernel_measurement& each : measured) {
    each.memory_rate = (rate_before + last_memory_rate_) / 2.0;
    measurements_.push_back(std::move(each));
  }
}

void show_progress(const std::string& text) {
  static const bool is_terminal = ::isatty(STDERR_FILENO) == 1;
  if (is_terminal) std::fprintf(stderr, "\r\033[K%s", text.c_str());
}

}  // namespace troupe::bench
