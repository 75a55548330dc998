// How a test says what this machine cannot run. Every skip is listed when the program ends; a case
// that skips and then checks nothing counts as skipped, and a program whose cases all do is
// reported as skipped by ctest.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace troupe::test {

/// To be called on the thread of the running case, outside of any check.
void skip(const std::string& why);

/// The file that an environment variable names; where there is none, skips.
std::optional<std::filesystem::path> required_file(const char* variable);

}  // namespace troupe::test
