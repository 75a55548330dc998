#include "cli/progress_bar.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace troupe::cli {

progress_bar::progress_bar(std::string label)
    : label_(std::move(label)), is_terminal_(::isatty(STDERR_FILENO) == 1) {}

progress_bar::~progress_bar() {
  if (is_terminal_ && percent_ >= 0) std::fputs("\r\033[K", stderr);
}

void progress_bar::show(float fraction) {
  if (!is_terminal_) return;
  const int percent = std::clamp(static_cast<int>(fraction * 100.0f), 0, 100);
  if (percent == percent_) return;
  percent_ = percent;
  constexpr int width = 32;
  const int filled = percent * width / 100;
  std::fprintf(stderr, "\r%s [%s%s] %3d %%", label_.c_str(),
               std::string(static_cast<std::size_t>(filled), '#').c_str(),
               std::string(static_cast<std::size_t>(width - filled), '.').c_str(), percent);
  std::fflush(stderr);
}

}  // namespace troupe::cli
