// The methods of strings. Results of markup are markup, as in markupsafe.
#include <algorithm>
#include <limits>

#include "config/limits.hpp"
#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/slicing.hpp"
#include "runtime/text/jinja/text_operations.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {
namespace {

using method = value (*)(interpreter&, const value&, arguments);

value same_kind(interpreter& run, const value& self, std::string bytes) {
  return run.make_text(std::move(bytes), self.string().is_markup);
}

value same_kind_list(interpreter& run, const value& self, std::vector<std::string> parts) {
  std::vector<value> items;
  items.reserve(parts.size());
  for (std::string& part : parts) items.push_back(same_kind(run, self, std::move(part)));
  return run.make_list(std::move(items));
}

template <std::string (*Change)(std::string_view)>
value changed(interpreter& run, const value& self, arguments args) {
  (void)bound_arguments("method", std::move(args), {});
  return same_kind(run, self, Change(self.bytes()));
}

template <bool Left, bool Right>
value stripped(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("strip", std::move(args), {{""}});
  const auto chars = bound.is_none(0) ? std::nullopt : std::optional(bound.string(0));
  run.charge_steps(chars ? chars->size() : 0);
  return same_kind(run, self, std::string(strip(self.bytes(), chars, Left, Right)));
}

template <bool FromRight>
value split(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("split", std::move(args), {{"sep"}, {"maxsplit"}});
  const std::int64_t limit = bound.integer(1, -1);
  run.charge_string(self.bytes().size());
  if (bound.is_none(0))
    return same_kind_list(
        run, self,
        FromRight ? split_space_right(self.bytes(), limit) : split_space(self.bytes(), limit));
  const std::string_view separator = bound.string(0);
  if (separator.empty()) throw failure{"empty separator"};
  return same_kind_list(run, self,
                        FromRight ? split_on_right(self.bytes(), separator, limit)
                                  : split_on(self.bytes(), separator, limit));
}

value splitlines(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("splitlines", std::move(args), {{"keepends"}});
  run.charge_string(self.bytes().size());
  return same_kind_list(run, self, split_lines(self.bytes(), bound.truthy(0, false)));
}

// The part of a string between two optional indices, and where it starts; nullopt if start is
// behind the end, where Python finds nothing, not even an empty string.
struct window {
  std::string_view text;
  std::size_t start;
};

std::optional<window> clip(const value& self, const bound_arguments& bound, std::size_t first) {
  const auto length = static_cast<std::int64_t>(self.string().length);
  const auto index = [&](std::size_t argument, std::int64_t otherwise) {
    const std::int64_t given = bound.is_none(argument) ? otherwise : bound.integer(argument, 0);
    return given < 0 ? std::max<std::int64_t>(0, given + length) : given;
  };
  const std::int64_t start = index(first, 0);
  const std::int64_t stop = std::min(index(first + 1, length), length);
  if (start > length || stop < start) return std::nullopt;
  return window{text_range(self.string(), static_cast<std::size_t>(start),
                           static_cast<std::size_t>(stop - start)),
                static_cast<std::size_t>(start)};
}

template <bool AtEnd>
value starts_with(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound(AtEnd ? "endswith" : "startswith", std::move(args),
                              {{"", true}, {""}, {""}});
  const auto part = clip(self, bound, 1);
  const auto matches = [&](const value& wanted) {
    if (!wanted.is(kind::string))
      throw failure{"startswith and endswith take a string or a tuple of strings"};
    run.charge_steps(1);
    return part &&
           (AtEnd ? part->text.ends_with(wanted.bytes()) : part->text.starts_with(wanted.bytes()));
  };
  if (!bound.at(0).is(kind::tuple)) return value(matches(bound.at(0)));
  const auto& all = bound.at(0).elements().items;
  return value(std::any_of(all.begin(), all.end(), matches));
}

template <bool FromRight, bool MustExist>
value find(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("find", std::move(args), {{"", true}, {""}, {""}});
  const std::string_view wanted = bound.string(0);
  run.charge_steps(self.bytes().size() / 64);
  const auto part = clip(self, bound, 1);
  const std::size_t at = !part       ? std::string_view::npos
                         : FromRight ? part->text.rfind(wanted)
                                     : part->text.find(wanted);
  if (at != std::string_view::npos)
    return value(
        static_cast<std::int64_t>(part->start + code_point_count(part->text.substr(0, at))));
  if (MustExist) throw failure{"substring not found"};
  return value(std::int64_t{-1});
}

value count(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("count", std::move(args), {{"", true}, {""}, {""}});
  const std::string_view wanted = bound.string(0);
  run.charge_steps(self.bytes().size() / 64);
  const auto part = clip(self, bound, 1);
  if (!part) return value(std::int64_t{0});
  return value(static_cast<std::int64_t>(count_occurrences(part->text, wanted)));
}

value replace(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("replace", std::move(args), {{"", true}, {"", true}, {""}});
  const std::string_view wanted = bound.string(0);
  const bool escapes =
      self.string().is_markup && !(bound.at(1).is(kind::string) && bound.at(1).string().is_markup);
  const std::string replacement =
      escapes ? escape_html(bound.string(1)) : std::string(bound.string(1));
  const std::uint64_t found = count_occurrences(self.bytes(), wanted);
  const std::int64_t limit = bound.integer(2, -1);
  const std::uint64_t times =
      limit < 0 ? found : std::min(found, static_cast<std::uint64_t>(limit));
  run.charge_string(self.bytes().size() + times * replacement.size());
  return value(replace_text(self.bytes(), wanted, replacement, limit), self.string().is_markup);
}

value join(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("join", std::move(args), {{"", true}});
  std::string out;
  bool is_first = true;
  for (const value& item : run.elements(bound.at(0))) {
    if (!item.is(kind::string))
      throw failure{"sequence item: expected str instance, " + std::string(item.type_name()) +
                    " found"};
    const bool escapes = self.string().is_markup && !item.string().is_markup;
    run.charge_bytes(self.bytes().size() + item.bytes().size());
    if (!is_first) out += self.bytes();
    is_first = false;
    out += escapes ? escape_html(item.bytes()) : item.string().bytes;
  }
  return same_kind(run, self, std::move(out));
}

template <bool Suffix>
value without(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("removeprefix", std::move(args), {{"", true}});
  const std::string_view affix = bound.string(0);
  std::string_view text = self.bytes();
  if (!Suffix && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (Suffix && text.ends_with(affix)) text.remove_suffix(affix.size());
  return same_kind(run, self, std::string(text));
}

template <bool FromRight>
value partition(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("partition", std::move(args), {{"", true}});
  const std::string_view separator = bound.string(0);
  if (separator.empty()) throw failure{"empty separator"};
  const std::string_view text = self.bytes();
  const std::size_t at = FromRight ? text.rfind(separator) : text.find(separator);
  std::string_view parts[3] = {text, {}, {}};
  if (FromRight) std::swap(parts[0], parts[2]);
  if (at != std::string_view::npos) {
    parts[0] = text.substr(0, at);
    parts[1] = separator;
    parts[2] = text.substr(at + separator.size());
  }
  std::vector<value> items;
  for (const auto part : parts) items.push_back(same_kind(run, self, std::string(part)));
  return run.make_tuple(std::move(items));
}

enum class side { left, right, both };

// ljust, rjust and center: filled up to a width in code points.
template <side Text>
value padded(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("ljust", std::move(args), {{"", true}, {""}});
  const std::string fill = bound.has(1) ? std::string(bound.string(1)) : " ";
  if (code_point_count(fill) != 1)
    throw failure{"The fill character must be exactly one character long"};
  const auto length = static_cast<std::int64_t>(self.string().length);
  const std::int64_t width = bound.integer(0, 0);
  if (width <= length) return self;
  const std::int64_t missing = width - length;
  run.charge_string(static_cast<std::size_t>(missing) >
                            limits::template_string_bytes_max / fill.size()
                        ? std::numeric_limits<std::size_t>::max()
                        : static_cast<std::size_t>(missing) * fill.size() + self.bytes().size());
  // CPython's center puts the odd one left when both the gap and the width are odd.
  const std::int64_t left = Text == side::left    ? 0
                            : Text == side::right ? missing
                                                  : missing / 2 + (missing & width & 1);
  std::string out;
  for (std::int64_t i = 0; i < left; ++i) out += fill;
  out += self.bytes();
  for (std::int64_t i = left; i < missing; ++i) out += fill;
  return value(std::move(out), self.string().is_markup);
}

value zfill(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("zfill", std::move(args), {{"", true}});
  const auto length = static_cast<std::int64_t>(self.string().length);
  const std::int64_t width = bound.integer(0, 0);
  if (width <= length) return self;
  run.charge_string(static_cast<std::size_t>(width - length) + self.bytes().size());
  std::string out(self.bytes());
  const bool has_sign = !out.empty() && (out[0] == '+' || out[0] == '-');
  out.insert(has_sign ? 1 : 0, static_cast<std::size_t>(width - length), '0');
  return value(std::move(out), self.string().is_markup);
}

value expandtabs(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("expandtabs", std::move(args), {{"tabsize"}});
  const std::int64_t size = bound.integer(0, 8);
  std::string out;
  std::int64_t column = 0;
  for (std::size_t i = 0; i < self.bytes().size();) {
    const char32_t c = next_code_point(self.bytes(), i);
    if (c == U'\t') {
      const std::int64_t spaces = size > 0 ? size - column % size : 0;
      run.charge_string(out.size() + static_cast<std::size_t>(spaces));
      out.append(static_cast<std::size_t>(spaces), ' ');
      column += spaces;
    } else {
      append_utf8(out, c);
      column = c == U'\n' || c == U'\r' ? 0 : column + 1;
    }
  }
  return same_kind(run, self, std::move(out));
}

template <bool (*Predicate)(char32_t), bool OfEmpty>
value all_of(interpreter&, const value& self, arguments args) {
  (void)bound_arguments("is...", std::move(args), {});
  for (std::size_t i = 0; i < self.bytes().size();)
    if (!Predicate(next_code_point(self.bytes(), i))) return value(false);
  return value(OfEmpty || !self.bytes().empty());
}

bool is_alphanumeric(char32_t c) {
  return is_alphabetic(c) || is_decimal(c) || is_digit(c) || is_numeric(c);
}
bool is_ascii(char32_t c) {
  return c < 0x80;
}

template <bool (*Wanted)(char32_t), bool (*Other)(char32_t)>
value only_case(interpreter&, const value& self, arguments args) {
  (void)bound_arguments("islower", std::move(args), {});
  bool has_any = false;
  for (std::size_t i = 0; i < self.bytes().size();) {
    const char32_t c = next_code_point(self.bytes(), i);
    if (Other(c)) return value(false);
    has_any = has_any || Wanted(c);
  }
  return value(has_any);
}

value istitle(interpreter&, const value& self, arguments args) {
  (void)bound_arguments("istitle", std::move(args), {});
  bool has_any = false;
  bool in_word = false;
  for (std::size_t i = 0; i < self.bytes().size();) {
    const char32_t c = next_code_point(self.bytes(), i);
    if (is_upper(c) ? in_word : is_lower(c) && !in_word) return value(false);
    in_word = is_upper(c) || is_lower(c);
    has_any = has_any || in_word;
  }
  return value(has_any);
}

value format(interpreter& run, const value& self, arguments args) {
  return format_braces(run, self, args);
}

value format_map(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("format_map", std::move(args), {{"", true}});
  if (!bound.at(0).is(kind::dict)) throw failure{"format_map() needs a mapping"};
  arguments named;
  for (const auto& [key, item] : bound.at(0).entries().entries())
    named.keyword.emplace_back(to_text(key), item);
  return format_braces(run, self, named);
}

value unsupported(interpreter&, const value&, arguments) {
  throw failure{"this method of str is not supported (encode, translate, maketrans, casefold)"};
}

struct row {
  std::string_view name;
  method function;
};

constexpr row table[] = {
    {"capitalize", changed<capitalize>},
    {"center", padded<side::both>},
    {"count", count},
    {"casefold", unsupported},
    {"encode", unsupported},
    {"endswith", starts_with<true>},
    {"expandtabs", expandtabs},
    {"find", find<false, false>},
    {"format", format},
    {"format_map", format_map},
    {"index", find<false, true>},
    {"isalnum", all_of<is_alphanumeric, false>},
    {"isalpha", all_of<is_alphabetic, false>},
    {"isascii", all_of<is_ascii, true>},
    {"isdecimal", all_of<is_decimal, false>},
    {"isdigit", all_of<is_digit, false>},
    {"islower", only_case<is_lower, is_upper>},
    {"isnumeric", all_of<is_numeric, false>},
    {"isprintable", all_of<is_printable, true>},
    {"isspace", all_of<is_space, false>},
    {"istitle", istitle},
    {"isupper", only_case<is_upper, is_lower>},
    {"join", join},
    {"ljust", padded<side::left>},
    {"lower", changed<to_lower>},
    {"lstrip", stripped<true, false>},
    {"maketrans", unsupported},
    {"partition", partition<false>},
    {"removeprefix", without<false>},
    {"removesuffix", without<true>},
    {"replace", replace},
    {"rfind", find<true, false>},
    {"rindex", find<true, true>},
    {"rjust", padded<side::right>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", stripped<false, true>},
    {"split", split<false>},
    {"splitlines", splitlines},
    {"startswith", starts_with<false>},
    {"strip", stripped<true, true>},
    {"swapcase", changed<swap_case>},
    {"title", changed<to_title>},
    {"translate", unsupported},
    {"upper", changed<to_upper>},
    {"zfill", zfill},
};

}  // namespace

std::optional<value> find_string_method(const value& owner, std::string_view name) {
  for (const row& entry : table) {
    if (entry.name != name) continue;
    return make_function(std::string(name),
                         [owner, function = entry.function](interpreter& run, arguments args) {
                           return function(run, owner, std::move(args));
                         });
  }
  return std::nullopt;
}

}  // namespace troupe::jinja
