// A progress bar on stderr, if that is a terminal; silence if it is not.
#pragma once

#include <string>

namespace troupe::cli {

class progress_bar {
 public:
  explicit progress_bar(std::string label);
  ~progress_bar();  ///< clears the line
  /// fraction: 0..1. Redraws only when a whole percent has passed.
  void show(float fraction);

 private:
  std::string label_;
  bool is_terminal_;
  int percent_ = -1;
};

}  // namespace troupe::cli
