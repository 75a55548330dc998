// Python's indexing and slicing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {

/// A negative index counts from the end; nullopt outside.
[[nodiscard]] std::optional<std::size_t> wrap_index(std::int64_t index, std::size_t length);

/// [start:stop:step], each None or an integer.
struct slice_bounds {
  value start, stop, step;
};

/// Bounds clipped to a length, as Python's slice.indices gives them.
struct resolved_slice {
  std::int64_t start, stop, step;
};
[[nodiscard]] resolved_slice resolve_slice(const slice_bounds& bounds, std::size_t count);

/// The indices that a slice picks from `length` elements, in order. Throws failure for a step of
/// zero and for bounds that are not integers.
[[nodiscard]] std::vector<std::size_t> slice_indices(const slice_bounds& bounds,
                                                     std::size_t length);

/// Of code points.
[[nodiscard]] std::string slice_text(const text& source, const slice_bounds& bounds);
/// Code points [first, first + count) of a string, clipped to it.
[[nodiscard]] std::string_view text_range(const text& source, std::size_t first, std::size_t count);
/// The code point at an index, which must be inside.
[[nodiscard]] std::string_view text_at(const text& source, std::size_t index);

}  // namespace troupe::jinja
