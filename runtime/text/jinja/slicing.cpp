// Indices and slices. Strings of ASCII only are indexed directly, others are walked.
#include "runtime/text/jinja/slicing.hpp"

#include <algorithm>

#include "runtime/text/jinja/objects.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {
namespace {

std::int64_t clip(const value& bound, std::int64_t missing, std::int64_t length, bool backwards) {
  if (bound.is(kind::none)) return missing;
  if (!bound.is_integral())
    throw failure{"slice indices must be integers or None, not " + std::string(bound.type_name())};
  const std::int64_t low = backwards ? -1 : 0;
  const std::int64_t high = backwards ? length - 1 : length;
  std::int64_t index = bound.integer();
  if (index < 0) index = index < -length ? low : index + length;
  return std::clamp(index, low, high);
}

}  // namespace

resolved_slice resolve_slice(const slice_bounds& bounds, std::size_t count) {
  const auto length = static_cast<std::int64_t>(count);
  std::int64_t step = 1;
  if (!bounds.step.is(kind::none)) {
    if (!bounds.step.is_integral()) throw failure{"slice indices must be integers or None"};
    step = bounds.step.integer();
  }
  if (step == 0) throw failure{"slice step cannot be zero"};
  // No sequence is that long, and clipping the step prevents overflow.
  constexpr std::int64_t step_max = std::int64_t{1} << 32;
  step = std::clamp(step, -step_max, step_max);
  const bool backwards = step < 0;
  return {clip(bounds.start, backwards ? length - 1 : 0, length, backwards),
          clip(bounds.stop, backwards ? -1 : length, length, backwards), step};
}

namespace {

std::size_t byte_offset(const text& source, std::size_t index) {
  if (source.length == source.bytes.size()) return std::min(index, source.length);
  std::size_t position = 0;
  for (std::size_t i = 0; i < index && position < source.bytes.size(); ++i)
    (void)next_code_point(source.bytes, position);
  return position;
}

}  // namespace

std::optional<std::size_t> wrap_index(std::int64_t index, std::size_t length) {
  const auto count = static_cast<std::int64_t>(length);
  if (index < -count || index >= count) return std::nullopt;
  return static_cast<std::size_t>(index < 0 ? index + count : index);
}

std::vector<std::size_t> slice_indices(const slice_bounds& bounds, std::size_t length) {
  const auto [start, stop, step] = resolve_slice(bounds, length);
  std::vector<std::size_t> indices;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop; i += step)
    indices.push_back(static_cast<std::size_t>(i));
  return indices;
}

std::string slice_text(const text& source, const slice_bounds& bounds) {
  const auto [start, stop, step] = resolve_slice(bounds, source.length);
  if (step == 1)
    return std::string(
        text_range(source, static_cast<std::size_t>(start),
                   static_cast<std::size_t>(std::max<std::int64_t>(0, stop - start))));
  std::vector<std::size_t> offsets;
  for (std::size_t i = 0; i < source.bytes.size(); (void)next_code_point(source.bytes, i))
    offsets.push_back(i);
  offsets.push_back(source.bytes.size());
  std::string out;
  for (const std::size_t index : slice_indices(bounds, source.length))
    out.append(source.bytes, offsets[index], offsets[index + 1] - offsets[index]);
  return out;
}

std::string_view text_range(const text& source, std::size_t first, std::size_t count) {
  const std::size_t begin = byte_offset(source, first);
  const std::string_view rest = std::string_view(source.bytes).substr(begin);
  if (source.length == source.bytes.size()) return rest.substr(0, count);
  std::size_t end = 0;
  for (std::size_t i = 0; i < count && end < rest.size(); ++i) (void)next_code_point(rest, end);
  return rest.substr(0, end);
}

std::string_view text_at(const text& source, std::size_t index) {
  return text_range(source, index, 1);
}

}  // namespace troupe::jinja
