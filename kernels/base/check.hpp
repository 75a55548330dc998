// TROUPE_CHECK: a broken invariant ends the process, in every build, with its values on stderr.
// Never for user input: that gets an error value (result.hpp).
#pragma once

#include <string>
#include <string_view>

namespace troupe::detail {

/// Prints file, line, expression and message to stderr and calls std::abort.
[[noreturn]] void check_failed(const char* file, int line, const char* expression,
                               std::string_view message) noexcept;

}  // namespace troupe::detail

#define TROUPE_CHECK(condition) \
  (static_cast<bool>(condition) \
       ? static_cast<void>(0)   \
       : ::troupe::detail::check_failed(__FILE__, __LINE__, #condition, std::string_view{}))

/// The message is evaluated only on failure: TROUPE_CHECK_MESSAGE(free <= total, fmt::format(...)).
#define TROUPE_CHECK_MESSAGE(condition, ...) \
  (static_cast<bool>(condition)              \
       ? static_cast<void>(0)                \
       : ::troupe::detail::check_failed(__FILE__, __LINE__, #condition, (__VA_ARGS__)))
