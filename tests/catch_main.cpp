// The one translation unit that holds Catch2's own code and main(), and the account of what was
// skipped.
#define CATCH_CONFIG_RUNNER
#include <cstdlib>
#include <iostream>
#include <set>

#include <catch2/catch.hpp>

#include "tests/skip.hpp"

namespace {

/// SKIP_RETURN_CODE in cmake/targets.cmake.
constexpr int exit_all_skipped = 77;

struct skip_account {
  std::set<std::string> lines;     ///< "case: why"
  bool skips_now = false;          ///< the running case has skipped something
  std::size_t skipped_count = 0;   ///< cases that skipped and checked nothing
  std::size_t finished_count = 0;  ///< all cases
};

skip_account& account() {
  static skip_account the_one;
  return the_one;
}

struct skip_listener : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;

  void testCaseStarting(const Catch::TestCaseInfo& info) override {
    TestEventListenerBase::testCaseStarting(info);
    account().skips_now = false;
  }

  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    TestEventListenerBase::testCaseEnded(stats);
    ++account().finished_count;
    if (account().skips_now && stats.totals.assertions.total() == 0) ++account().skipped_count;
  }
};
CATCH_REGISTER_LISTENER(skip_listener)

}  // namespace

namespace troupe::test {

void skip(const std::string& why) {
  account().skips_now = true;
  account().lines.insert(Catch::getResultCapture().getCurrentTestName() + ": " + why);
}

std::optional<std::filesystem::path> required_file(const char* variable) {
  const char* path = std::getenv(variable);
  if (path != nullptr && std::filesystem::exists(path)) return path;
  skip(std::string(variable) + " names no file");
  return std::nullopt;
}

}  // namespace troupe::test

int main(int argument_count, char** arguments) {
  const int failed_count = Catch::Session().run(argument_count, arguments);
  const skip_account& skips = account();
  if (!skips.lines.empty())
    std::cout << "skipped " << skips.skipped_count << " of " << skips.finished_count
              << " cases as a whole\n";
  for (const std::string& line : skips.lines) std::cout << "SKIPPED: " << line << "\n";
  const bool all_skipped = skips.skipped_count != 0 && skips.skipped_count == skips.finished_count;
  return failed_count == 0 && all_skipped ? exit_all_skipped : failed_count;
}
