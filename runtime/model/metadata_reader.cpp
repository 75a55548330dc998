#include "runtime/model/metadata_reader.hpp"

#include <cmath>
#include <variant>

#include <fmt/format.h>

namespace troupe {

std::string metadata_reader::key(std::string_view suffix) const {
  return fmt::format("{}.{}", architecture_, suffix);
}

bool metadata_reader::has(std::string_view suffix) const {
  return file_.find(key(suffix)) != nullptr;
}

result<> metadata_reader::refuse_array(std::string_view suffix) const {
  const gguf_value* value = file_.find(key(suffix));
  if (value == nullptr || value->index() < gguf_first_array_index) return {};
  return error{errc::unsupported,
               fmt::format("{}: {} is an array; models whose layers differ in it are not supported",
                           file_.name(), key(suffix))};
}

result<std::size_t> metadata_reader::get_size(std::string_view suffix, std::uint64_t maximum,
                                              std::optional<std::uint64_t> fallback) const {
  std::uint64_t number = fallback.value_or(0);
  if (!fallback || has(suffix)) {
    TROUPE_TRY_VOID(refuse_array(suffix));
    TROUPE_TRY(number, file_.get_unsigned(key(suffix)));
  }
  if (number < 1 || number > maximum) {
    return error{errc::corrupt, fmt::format("{}: {} is {}; expected 1 to {}", file_.name(),
                                            key(suffix), number, maximum)};
  }
  return static_cast<std::size_t>(number);
}

result<double> metadata_reader::get_positive(std::string_view suffix, double maximum,
                                             std::optional<double> fallback) const {
  double number = fallback.value_or(0.0);
  if (!fallback || has(suffix)) {
    TROUPE_TRY_VOID(refuse_array(suffix));
    TROUPE_TRY(number, file_.get_double(key(suffix)));
  }
  // The comparison is false for NaN too.
  if (!(number > 0.0 && number <= maximum)) {
    return error{errc::corrupt, fmt::format("{}: {} is {}; expected more than 0 and at most {}",
                                            file_.name(), key(suffix), number, maximum)};
  }
  return number;
}

}  // namespace troupe
