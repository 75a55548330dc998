// Python's == and <.
#include <algorithm>
#include <compare>

#include "runtime/text/jinja/objects.hpp"
#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {
namespace {

std::partial_ordering order_numbers(const value& a, const value& b) {
  if (a.is_integral() && b.is_integral()) return a.integer() <=> b.integer();
  // A long double has 64 bits of mantissa on x86: it holds every int64 and every double.
  const auto wide = [](const value& item) {
    return item.is(kind::floating) ? static_cast<long double>(item.number())
                                   : static_cast<long double>(item.integer());
  };
  return wide(a) <=> wide(b);
}

bool equal_dicts(const dictionary& a, const dictionary& b) {
  if (a.size() != b.size()) return false;
  return std::all_of(a.entries().begin(), a.entries().end(), [&](const auto& entry) {
    const value* other = b.find(entry.first);
    return other != nullptr && equal(entry.second, *other);
  });
}

std::optional<int> order_sequences(const value& a, const value& b, std::string_view operation) {
  const auto& left = a.elements().items;
  const auto& right = b.elements().items;
  const std::size_t shared = std::min(left.size(), right.size());
  for (std::size_t i = 0; i < shared; ++i)
    if (!equal(left[i], right[i])) return order(left[i], right[i], operation);
  return left.size() < right.size() ? -1 : left.size() > right.size() ? 1 : 0;
}

}  // namespace

bool equal(const value& a, const value& b) {
  if (a.is_number() && b.is_number())
    return order_numbers(a, b) == std::partial_ordering::equivalent;
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case kind::string: return a.bytes() == b.bytes();
    case kind::list:
    case kind::tuple: {
      const auto& left = a.elements().items;
      const auto& right = b.elements().items;
      return std::equal(left.begin(), left.end(), right.begin(), right.end(), equal);
    }
    case kind::dict: return equal_dicts(a.entries(), b.entries());
    case kind::object: {
      if (a.thing() == b.thing()) return true;
      const auto* left = a.as<range_object>();
      const auto* right = b.as<range_object>();
      return left != nullptr && right != nullptr && left->is_equal(*right);
    }
    default: return true;  // undefined and none
  }
}

std::optional<int> order(const value& a, const value& b, std::string_view operation) {
  if (a.is(kind::undefined)) throw failure{a.undefined_message()};
  if (b.is(kind::undefined)) throw failure{b.undefined_message()};
  if (a.is_number() && b.is_number()) {
    const std::partial_ordering result = order_numbers(a, b);
    if (result == std::partial_ordering::unordered) return std::nullopt;
    return result < 0 ? -1 : result > 0 ? 1 : 0;
  }
  if (a.is(kind::string) && b.is(kind::string)) {
    // The order of UTF-8 bytes is the order of code points.
    const int result = a.bytes().compare(b.bytes());
    return result < 0 ? -1 : result > 0 ? 1 : 0;
  }
  if (a.is_sequence() && a.type() == b.type()) return order_sequences(a, b, operation);
  throw failure{"'" + std::string(operation) + "' not supported between instances of '" +
                std::string(a.type_name()) + "' and '" + std::string(b.type_name()) + "'"};
}

}  // namespace troupe::jinja
