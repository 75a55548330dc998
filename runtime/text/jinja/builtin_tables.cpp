// The names of filters and global functions.
#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "config/limits.hpp"
#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"

namespace troupe::jinja {
namespace {

constexpr std::pair<std::string_view, filter_function> filter_table[] = {
    {"abs", filters::absolute},        {"attr", filters::attr},
    {"batch", filters::batch},         {"capitalize", filters::capitalize},
    {"center", filters::center},       {"count", filters::length},
    {"d", filters::default_value},     {"default", filters::default_value},
    {"dictsort", filters::dictsort},   {"e", filters::escape},
    {"escape", filters::escape},       {"first", filters::first},
    {"float", filters::floating},      {"format", filters::format},
    {"groupby", filters::groupby},     {"indent", filters::indent},
    {"int", filters::integer},         {"items", filters::items},
    {"join", filters::join},           {"last", filters::last},
    {"length", filters::length},       {"list", filters::list},
    {"lower", filters::lower},         {"map", filters::map},
    {"max", filters::maximum},         {"min", filters::minimum},
    {"reject", filters::reject},       {"rejectattr", filters::reject_attribute},
    {"replace", filters::replace},     {"reverse", filters::reverse},
    {"round", filters::round},         {"safe", filters::safe},
    {"select", filters::select},       {"selectattr", filters::select_attribute},
    {"slice", filters::slice},         {"sort", filters::sort},
    {"string", filters::string},       {"sum", filters::sum},
    {"title", filters::title},         {"tojson", filters::to_json_filter},
    {"trim", filters::trim},           {"truncate", filters::truncate},
    {"unique", filters::unique},       {"upper", filters::upper},
    {"wordcount", filters::wordcount},
};

value make_range(interpreter&, arguments args) {
  const bound_arguments bound("range", std::move(args), {{"", true}, {""}, {""}});
  const std::int64_t first = bound.integer(0, 0);
  const bool has_stop = bound.has(1);
  const auto range = std::make_shared<range_object>(
      has_stop ? first : 0, has_stop ? bound.integer(1, 0) : first, bound.integer(2, 1));
  return value(std::shared_ptr<object>(range));
}

// dict(mapping or pairs, name=value ...), which namespace() takes, too.
dictionary make_entries(interpreter& run, arguments args, std::string_view function) {
  if (args.positional.size() > 1)
    throw failure{std::string(function) + " expected at most 1 argument"};
  dictionary entries;
  if (!args.positional.empty()) {
    const value& source = args.positional.front();
    if (source.is(kind::dict)) {
      entries = source.entries();
    } else {
      for (const value& pair : run.elements(source)) {
        std::vector<value> both = run.elements(pair);
        if (both.size() != 2) throw failure{"a dict is made of pairs"};
        entries.insert(std::move(both[0]), std::move(both[1]));
      }
    }
  }
  for (auto& [name, item] : args.keyword) entries.insert(value(name), std::move(item));
  run.charge_bytes(entries.size() * sizeof(dictionary::entry));
  run.charge_steps(entries.size());
  return entries;
}

value make_dict(interpreter& run, arguments args) {
  return value::dict(make_entries(run, std::move(args), "dict"));
}

value make_namespace(interpreter& run, arguments args) {
  value made = run.make_namespace();
  auto* space = made.as<namespace_object>();
  const dictionary initial = make_entries(run, std::move(args), "namespace");
  for (const auto& [name, item] : initial.entries()) {
    if (!name.is(kind::string)) throw failure{"the names of a namespace must be strings"};
    space->set(name.string().bytes, item);
  }
  return made;
}

value raise_exception(interpreter&, arguments args) {
  const bound_arguments bound("raise_exception", std::move(args), {{"message", true}});
  throw failure{to_text(bound.at(0))};
}

value strftime_now(interpreter& run, arguments args) {
  const bound_arguments bound("strftime_now", std::move(args), {{"format", true}});
  const std::string pattern(bound.string(0));
  if (pattern.empty()) return value(std::string());
  const std::time_t seconds = run.now().time_since_epoch().count();
  std::tm parts{};
  if (gmtime_r(&seconds, &parts) == nullptr) throw failure{"the time is out of range"};
  // No conversion writes more than about 30 bytes for two of the pattern, short of wide padding,
  // which then makes the result empty.
  std::string buffer(std::min<std::size_t>(pattern.size() * 32, 1u << 20) + 64, '\0');
  buffer.resize(std::strftime(buffer.data(), buffer.size(), pattern.c_str(), &parts));
  return run.make_text(std::move(buffer));
}

/// cycler(a, b, ...): .next() goes round, .current is the one to come, .reset() starts over.
class cycler_object final : public object {
 public:
  explicit cycler_object(value items) : items_(std::move(items)) {}
  [[nodiscard]] std::string_view type_name() const override { return "Cycler"; }
  [[nodiscard]] int depth() const override { return items_.depth(); }
  std::optional<value> attribute(interpreter&, std::string_view name) override {
    const auto& items = items_.elements().items;
    if (name == "current") return items[position_];
    if (name == "next")
      return make_function(
          "next",
          [self = shared()](interpreter&, arguments) {
            const auto& all = self->items_.elements().items;
            value current = all[self->position_];
            self->position_ = (self->position_ + 1) % all.size();
            return current;
          },
          depth());
    if (name == "reset")
      return make_function(
          "reset",
          [self = shared()](interpreter&, arguments) {
            self->position_ = 0;
            return value();
          },
          depth());
    return std::nullopt;
  }
  void keep(const std::shared_ptr<cycler_object>& self) { self_ = self; }

 private:
  [[nodiscard]] std::shared_ptr<cycler_object> shared() const { return self_.lock(); }
  value items_;
  std::size_t position_ = 0;
  std::weak_ptr<cycler_object> self_;
};

value make_cycler(interpreter& run, arguments args) {
  if (args.positional.empty()) throw failure{"at least one item has to be provided"};
  auto made = std::make_shared<cycler_object>(run.make_tuple(std::move(args.positional)));
  made->keep(made);
  return value(std::shared_ptr<object>(std::move(made)));
}

/// joiner(separator): its first call gives "", the others the separator.
value make_joiner(interpreter&, arguments args) {
  const bound_arguments bound("joiner", std::move(args), {{"sep"}});
  const value separator = bound.has(0) ? bound.at(0) : value(std::string(", "));
  return make_function(
      "joiner",
      [separator, used = std::make_shared<bool>(false)](interpreter&, arguments) {
        return std::exchange(*used, true) ? separator : value(std::string());
      },
      separator.depth());
}

using global_function = value (*)(interpreter&, arguments);
constexpr std::pair<std::string_view, global_function> global_table[] = {
    {"range", make_range},          {"dict", make_dict},
    {"namespace", make_namespace},  {"raise_exception", raise_exception},
    {"strftime_now", strftime_now}, {"cycler", make_cycler},
    {"joiner", make_joiner},
};

}  // namespace

filter_function find_filter(std::string_view name) {
  for (const auto& [known, function] : filter_table)
    if (known == name) return function;
  return nullptr;
}

std::optional<value> find_global(std::string_view name) {
  for (const auto& [known, function] : global_table)
    if (known == name) return make_function(std::string(name), function);
  return std::nullopt;
}

}  // namespace troupe::jinja
