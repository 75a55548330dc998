// Errors as values. A function that can fail returns result<T>; the message says what was wrong,
// where, and what to do. Broken invariants are not errors: they are TROUPE_CHECK (check.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "kernels/base/check.hpp"

namespace troupe {

enum class errc : std::uint8_t {
  invalid_argument,     ///< the caller asked for something that makes no sense; do not retry
  not_found,            ///< no such request, key, file or model
  already_exists,       ///< a duplicate id
  unauthorized,         ///< missing or wrong credentials
  permission_denied,    ///< known credentials that do not reach this far
  out_of_memory,        ///< memory for weights, KV cache or a request cannot be had
  overloaded,           ///< a bounded queue is full; retry later
  rate_limited,         ///< the caller is above its own rate; retry later
  slow_client,          ///< the reader fell too far behind
  corrupt,              ///< bytes that break their own format
  unsupported,          ///< well formed, but not something this build can do
  unavailable,          ///< the engine is draining, restarting or gone
  deadline_exceeded,    ///< a wait ran out
  deadline_unmeetable,  ///< it would run out: refused before any work
  aborted,              ///< cancelled by its owner
  internal,             ///< a defect of ours
};

/// The stable lower-case name of a code, as it goes over the wire ("invalid_argument").
constexpr std::string_view to_string(errc code) noexcept {
  switch (code) {
    case errc::invalid_argument: return "invalid_argument";
    case errc::not_found: return "not_found";
    case errc::already_exists: return "already_exists";
    case errc::unauthorized: return "unauthorized";
    case errc::permission_denied: return "permission_denied";
    case errc::out_of_memory: return "out_of_memory";
    case errc::overloaded: return "overloaded";
    case errc::rate_limited: return "rate_limited";
    case errc::slow_client: return "slow_client";
    case errc::corrupt: return "corrupt";
    case errc::unsupported: return "unsupported";
    case errc::unavailable: return "unavailable";
    case errc::deadline_exceeded: return "deadline_exceeded";
    case errc::deadline_unmeetable: return "deadline_unmeetable";
    case errc::aborted: return "aborted";
    case errc::internal: return "internal";
  }
  return "internal";
}

/// The code of a name that came over the wire; internal for an unknown one.
constexpr errc errc_named(std::string_view name) noexcept {
  for (int code = 0; code <= static_cast<int>(errc::internal); ++code) {
    if (to_string(static_cast<errc>(code)) == name) return static_cast<errc>(code);
  }
  return errc::internal;
}

struct error {
  errc code = errc::internal;
  std::string message;
};

/// Either a T or an error. T may be void (the default).
template <class T = void>
class [[nodiscard]] result {
 public:
  result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit on purpose
  result(error failure) : state_(std::in_place_index<1>, std::move(failure)) {}  // NOLINT

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  T& value() & {
    TROUPE_CHECK_MESSAGE(has_value(), failure_text());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    TROUPE_CHECK_MESSAGE(has_value(), failure_text());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    TROUPE_CHECK_MESSAGE(has_value(), failure_text());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  [[nodiscard]] const error& failure() const& {
    TROUPE_CHECK(!has_value());
    return *std::get_if<1>(&state_);
  }
  [[nodiscard]] error&& failure() && {
    TROUPE_CHECK(!has_value());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  [[nodiscard]] std::string failure_text() const {
    return has_value() ? std::string{} : std::get_if<1>(&state_)->message;
  }
  std::variant<T, error> state_;
};

template <>
class [[nodiscard]] result<void> {
 public:
  result() = default;
  result(error failure) : failure_(std::move(failure)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool has_value() const noexcept { return !failure_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  void value() const { TROUPE_CHECK_MESSAGE(has_value(), failure_->message); }
  [[nodiscard]] const error& failure() const& {
    TROUPE_CHECK(!has_value());
    return *failure_;
  }
  [[nodiscard]] error&& failure() && {
    TROUPE_CHECK(!has_value());
    return std::move(*failure_);
  }

 private:
  std::optional<error> failure_;
};

}  // namespace troupe

#define TROUPE_CONCAT_INNER(a, b) a##b
#define TROUPE_CONCAT(a, b) TROUPE_CONCAT_INNER(a, b)

/// TROUPE_TRY(auto file, gguf_file::open(path)); declares `file` or returns the error to the
/// caller.
#define TROUPE_TRY(declaration, ...)                                     \
  auto TROUPE_CONCAT(troupe_result_, __LINE__) = (__VA_ARGS__);          \
  if (!TROUPE_CONCAT(troupe_result_, __LINE__).has_value())              \
    return std::move(TROUPE_CONCAT(troupe_result_, __LINE__)).failure(); \
  declaration = std::move(TROUPE_CONCAT(troupe_result_, __LINE__)).value()

/// TROUPE_TRY_VOID(check_shape(tensor)); returns the error to the caller, if there is one.
#define TROUPE_TRY_VOID(...)                                              \
  do {                                                                    \
    if (auto troupe_result_ = (__VA_ARGS__); !troupe_result_.has_value()) \
      return std::move(troupe_result_).failure();                         \
  } while (false)
